from dataclasses import replace

from prometheus_client import CollectorRegistry

from proxy.observe.gaps import Gaps
from tests.unit.observe.samples import NOW, finished


def test_a_gap_is_from_one_request_for_a_model_to_its_next() -> None:
    registry = CollectorRegistry()
    gaps = Gaps(registry)
    for model, at in (("a", NOW), ("b", NOW + 1), ("a", NOW + 40), ("a", NOW + 40 + 7200)):
        gaps.used(model, replace(finished(), at=at))
    assert registry.get_sample_value("keepwarm_gap_seconds_sum", {"model": "a"}) == 7240
    assert registry.get_sample_value("keepwarm_gap_seconds_bucket", {"model": "a", "le": "60.0"}) == 1
    assert registry.get_sample_value("keepwarm_gap_seconds_count", {"model": "b"}) == 0


def test_a_request_that_ended_before_an_older_one_leaves_no_negative_gap() -> None:
    registry = CollectorRegistry()
    gaps = Gaps(registry)
    for at in (NOW + 5, NOW):
        gaps.used("a", replace(finished(), at=at))
    assert registry.get_sample_value("keepwarm_gap_seconds_sum", {"model": "a"}) == 0


def test_models_that_share_a_label_have_no_gap() -> None:
    registry = CollectorRegistry()
    gaps = Gaps(registry)
    for at in (NOW, NOW + 5):
        gaps.used("other", replace(finished(), at=at))
    assert registry.get_sample_value("keepwarm_gap_seconds_count", {"model": "other"}) is None
