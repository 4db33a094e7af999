from prometheus_client import CollectorRegistry

from proxy.observe.gaps import Gaps
from proxy.observe.meters import Meters


def counted(*uses: tuple[str, float]) -> CollectorRegistry:
    meters = Meters()
    gaps = Gaps(meters.gap)
    for model, at in uses:
        gaps.used(model, at)
    return meters.registry


def test_a_gap_is_from_one_request_for_a_model_to_its_next() -> None:
    registry = counted(("a", 100.0), ("b", 101.0), ("a", 140.0), ("a", 7340.0))
    assert registry.get_sample_value("keepwarm_gap_seconds_sum", {"model": "a"}) == 7240
    assert registry.get_sample_value("keepwarm_gap_seconds_bucket", {"model": "a", "le": "60.0"}) == 1
    assert registry.get_sample_value("keepwarm_gap_seconds_count", {"model": "b"}) is None


def test_a_request_that_ended_before_an_older_one_leaves_no_negative_gap() -> None:
    registry = counted(("a", 105.0), ("a", 100.0))
    assert registry.get_sample_value("keepwarm_gap_seconds_sum", {"model": "a"}) == 0


def test_models_that_share_a_label_have_no_gap() -> None:
    registry = counted(("other", 100.0), ("other", 105.0))
    assert registry.get_sample_value("keepwarm_gap_seconds_count", {"model": "other"}) is None
