from collections import Counter
from itertools import pairwise

from proxy.sim.replay.published import catalogue
from proxy.sim.replay.sessions import Sessions

GPU_BYTES = 24 * 10**9
SESSIONS = Sessions(catalogue(disk="warm"), GPU_BYTES)


def test_the_same_seed_makes_the_same_sessions():
    assert SESSIONS.of(1) == SESSIONS.of(1) != SESSIONS.of(2)


def test_eight_models_of_which_three_fit_side_by_side():
    workload = SESSIONS.of(3)
    assert len(set(workload.models)) == 8
    assert len(workload.arrivals) == 1500
    largest = sorted((model.bytes for model in workload.models), reverse=True)[:3]
    assert sum(largest) <= GPU_BYTES
    assert sum(model.bytes for model in workload.models) > GPU_BYTES


def test_requests_come_in_sessions_about_some_models_more_than_others():
    workload = SESSIONS.of(1)
    counts = Counter(arrival.model for arrival in workload.arrivals)
    assert counts[0] > 3 * counts[7]
    models = [arrival.model for arrival in workload.arrivals]
    changes = sum(one != other for one, other in pairwise(models))
    assert len(models) / 8 < changes < len(models) / 4  # about four requests a session
