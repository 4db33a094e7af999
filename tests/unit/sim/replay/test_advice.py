from dataclasses import dataclass, replace

import pytest

from proxy.domain.units import GIB
from proxy.sim.replay.advice import STEPS, advise
from proxy.sim.replay.comparison import Plan
from proxy.sim.replay.contender import MachineSpec
from proxy.sim.replay.workload import Arrival, Workload, WorkloadModel
from tests.unit.sim.replay.test_simulator import SETTINGS


@dataclass(frozen=True)
class Small:
    """Many models of a size, one asked for after the other, all day long."""

    count: int
    gib: int
    pause_seconds: float = 200.0

    def of(self, seed):
        models = tuple(WorkloadModel(f"m{i}:x", self.gib * GIB, 3.0) for i in range(self.count))
        return Workload(
            models, tuple(Arrival(self.pause_seconds * at, (at + seed) % self.count, 1.0) for at in range(60))
        )


def by_key(advice):
    return {one.key[:2] if one.key[0] == "memory" else one.key[0]: one for one in advice}


def plan(source, **settings):
    return Plan(source, MachineSpec(gpu_bytes=24 * GIB), replace(SETTINGS, **settings), overlapping=False)


def test_where_five_models_would_fit_at_once_more_of_them_are_advised():
    said = []
    advice = by_key(advise(plan(Small(5, 2)), [1], lambda: said.append(1)))
    assert advice["memory", "max_models"].value == 5
    assert "3 models: " in advice["memory", "max_models"].evidence
    assert "5 models: " in advice["memory", "max_models"].evidence
    assert 0 < len(said) <= STEPS


def test_memory_that_is_not_needed_is_given_back():
    advice = by_key(advise(plan(Small(2, 2)), [1]))
    assert advice["memory", "budget"].value == "12288MiB"  # half of 24 GiB
    assert advice["memory", "max_models"].value is None


def test_the_highest_price_that_costs_no_waiting_is_advised():
    # back after 400 s, 2 GiB: at 250 ms per GiB·h that costs 0.06 s, much less than the load of 3 s
    assert by_key(advise(plan(Small(2, 2)), [1]))["memory", "price"].value == "250ms"


def test_a_price_that_costs_waiting_is_not_advised():
    # back after 8 h, 9 GiB: at 250 ms per GiB·h that costs 18 s, more than the load of 3 s; at 20 ms 1.4 s
    price = by_key(advise(plan(Small(2, 9, 4 * 3600.0)), [1]))["memory", "price"]
    assert price.value in {None, "20ms", "0s"}
    assert "250ms: " in price.evidence


@pytest.mark.parametrize(("now", "advised"), [(False, True), (True, None)])
def test_loads_ahead_of_use_are_advised_where_three_take_turns_by_the_clock_and_two_fit(now, advised):
    warm_up = by_key(advise(plan(Small(3, 9), warm_up=now), [1]))["warm_up"]
    assert warm_up.value is advised
    assert "without: " in warm_up.evidence
    assert "with loads ahead of use: " in warm_up.evidence


def test_loads_ahead_of_use_that_help_nobody_are_not_advised():
    assert by_key(advise(plan(Small(2, 9)), [1]))["warm_up"].value is None


def test_a_pin_that_helps_nobody_is_not_advised():
    advice = by_key(advise(plan(Small(3, 2)), [1]))
    assert advice["models"].value is None
