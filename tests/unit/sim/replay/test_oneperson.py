from itertools import pairwise

import pytest

from proxy.sim.replay.oneperson import OnePerson
from proxy.sim.replay.published import catalogue
from proxy.sim.replay.rows import TraceError
from proxy.sim.replay.workload import WorkloadModel

GPU_BYTES = 24 * 10**9
CATALOGUE = catalogue()
PEOPLE = OnePerson(CATALOGUE, GPU_BYTES)
MANY = [PEOPLE.of(seed) for seed in range(20)]


def test_the_same_seed_makes_up_the_same_person():
    assert PEOPLE.of(1) == PEOPLE.of(1) != PEOPLE.of(2)


def test_arrivals_are_in_the_order_of_time_from_zero_within_the_days():
    for workload in MANY:
        times = [arrival.at for arrival in workload.arrivals]
        assert times[0] == 0
        assert times == sorted(times)
        assert times[-1] < 15 * 86400  # 14 days, and the last session may go beyond midnight


def test_people_have_several_models_that_fit_the_gpu():
    for workload in MANY:
        assert 3 <= len(workload.models) <= 10
        assert all(model.bytes <= GPU_BYTES for model in workload.models)


def test_turns_alternate_within_sessions_and_sessions_are_apart():
    pairs = [pair for workload in MANY for pair in pairwise(workload.arrivals)]
    gaps = [after.at - before.at for before, after in pairs]
    assert sum(gap < 300 for gap in gaps) > 0.8 * len(gaps)  # within a session
    assert sum(gap > 1800 for gap in gaps) > 5 * 14 * len(MANY) * 0.3  # some sessions a day
    turns = sum(before.model != after.model for before, after in pairs)
    assert 0.1 * len(pairs) < turns < 0.4 * len(pairs)


def test_the_day_has_a_rhythm():
    # every workload begins with its first request, so hours count from there: some are several times as busy as others
    hours = [0] * 24
    for workload in MANY:
        for arrival in workload.arrivals:
            hours[int(arrival.at // 3600) % 24] += 1
    assert max(hours) > 3 * (min(hours) + 1)


def test_large_models_are_rare():
    shares = []
    for workload in MANY:
        large = [model.bytes > 0.55 * GPU_BYTES for model in workload.models]
        assert sum(large) <= 1
        shares.append(sum(large[arrival.model] for arrival in workload.arrivals) / len(workload.arrivals))
    assert 0.003 < sum(shares) / len(shares) < 0.05


def test_a_catalogue_that_makes_no_person_is_refused():
    with pytest.raises(TraceError, match=r"a person needs small, middle and large models .* got 1, 0 and 0"):
        OnePerson((WorkloadModel("a", 1, 1.0),), GPU_BYTES).of(1)
