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


def test_each_label_begins_once_the_shared_one_too() -> None:
    begun: list[str] = []
    names = LabelNames(1, begun.append)
    for model in ("a", "b", "a", "c"):
        names.label(model)
    assert begun == ["a", "other"]


def test_a_label_that_is_shared_takes_nobodys_place() -> None:
    names = LabelNames(1)
    assert names.label("made-up", known=False) == "other"
    assert names.label("a") == "a"


def test_children_that_begin_together_are_there_before_they_count() -> None:
    registry = CollectorRegistry()
    counter = Counter("x", "x", ("model", "cause"), registry=registry)
    Children(counter, ("cold", "spill"))("a", "cold").inc()
    assert registry.get_sample_value("x_total", {"model": "a", "cause": "cold"}) == 1
    assert registry.get_sample_value("x_total", {"model": "a", "cause": "spill"}) == 0


def test_a_child_is_looked_up_once() -> None:
    children = Children(Counter("x", "x", ("model",), registry=CollectorRegistry()))
    assert children("a") is children("a")
    assert children("a") is not children("b")
