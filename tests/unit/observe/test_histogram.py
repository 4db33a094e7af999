"""Our histogram shows what prometheus_client's own shows of the same observations."""

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from proxy.observe.histogram import Histogram

BUCKETS = (0.001, 0.5, 1.0, 60.0)
AMOUNTS = (0.0, 0.001, 0.0010001, 0.5, 0.7, 59.9, 60.0, 60.1, 1e9)


@pytest.fixture(autouse=True)
def _without_the_time_of_creation():
    disable_created_metrics()


def test_the_same_observations_are_shown_alike():
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    our = Histogram("wait_seconds", "Time waited", ("model", "outcome"), ours, BUCKETS)
    their = prometheus_client.Histogram(
        "wait_seconds", "Time waited", ("model", "outcome"), registry=theirs, buckets=BUCKETS
    )
    for labels in (("a", "warm"), ("a", "cold"), ('odd "name"\n', "warm")):
        for amount in AMOUNTS:
            our.labels(*labels).observe(amount)
            their.labels(*labels).observe(amount)
    assert generate_latest(ours) == generate_latest(theirs)
    assert openmetrics.generate_latest(ours) == openmetrics.generate_latest(theirs)


def test_without_labels_it_is_one_histogram_that_begins_at_0():
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    Histogram("lag_seconds", "Lag", (), ours, BUCKETS).labels().observe(0.7)
    prometheus_client.Histogram("lag_seconds", "Lag", registry=theirs, buckets=BUCKETS).observe(0.7)
    assert generate_latest(ours) == generate_latest(theirs)


def test_the_last_exemplar_of_each_bucket_is_kept():
    ours = CollectorRegistry()
    bars = Histogram("wait_seconds", "Time waited", ("model",), ours, BUCKETS).labels("a")
    bars.observe(0.6, {"trace_id": "first"})
    bars.observe(0.7, {"trace_id": "second"})
    bars.observe(0.8)
    bars.observe(2.0, {"trace_id": "third"})
    lines = openmetrics.generate_latest(ours).decode().splitlines()
    (one,) = (line for line in lines if 'le="1.0"' in line)
    assert one.startswith('wait_seconds_bucket{le="1.0",model="a"} 3.0 # {trace_id="second"} 0.7 ')
    (sixty,) = (line for line in lines if 'le="60.0"' in line)
    assert "third" in sixty


def test_a_second_histogram_of_the_same_name_is_refused():
    registry = CollectorRegistry()
    Histogram("wait_seconds", "Time waited", (), registry, BUCKETS)
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        Histogram("wait_seconds", "Time waited", (), registry, BUCKETS)
