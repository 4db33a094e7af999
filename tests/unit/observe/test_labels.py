from prometheus_client import CollectorRegistry, Counter

from proxy.observe.labels import Children, LabelNames


def test_a_name_keeps_its_label_when_there_is_no_room_for_more() -> None:
    names = LabelNames(1)
    assert [names.label(model) for model in ("a", "b", "a")] == ["a", "other", "a"]


def test_an_unknown_name_gets_the_label_that_it_had_when_it_was_known() -> None:
    names = LabelNames(1)
    names.label("a")
    assert names.label("a", known=False) == "a"
    assert names.label("b", known=False) == "other"


def test_a_child_is_looked_up_once() -> None:
    children = Children(Counter("x", "x", ("model",), registry=CollectorRegistry()))
    assert children("a") is children("a")
    assert children("a") is not children("b")
