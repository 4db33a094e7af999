import pickle
from dataclasses import dataclass, replace

import pytest

from proxy.domain.units import GIB
from proxy.sim.replay.comparison import Comparison, Estimate, Figures, Plan, compare, steps
from proxy.sim.replay.contender import MachineSpec
from proxy.sim.replay.contenders import CONTENDERS
from proxy.sim.replay.table import comparison_table
from proxy.sim.replay.workload import Arrival, Workload, WorkloadModel
from tests.unit.sim.replay.test_simulator import SETTINGS

MODELS = tuple(
    WorkloadModel(f"m{i}:x", size * GIB, load) for i, (size, load) in enumerate([(2, 1.0), (9, 4.0), (14, 6.0)])
)


@dataclass(frozen=True)
class InTurns:
    """Three models that don't fit together, in an order that depends on the seed."""

    def of(self, seed):
        return Workload(MODELS, tuple(Arrival(100.0 * at, at * (seed + 1) % 3, 1.0) for at in range(30)))


PLAN = Plan(InTurns(), MachineSpec(gpu_bytes=24 * GIB), SETTINGS, overlapping=False)


def figures(wait, load=1.0):
    return Figures(10, 5, load, wait, wait / 10, wait, wait, 1.0, 0, 0)


def test_every_contender_meets_the_same_workloads_and_the_bound_is_below_all_of_them():
    comparison = compare(PLAN, CONTENDERS, [1, 2], jobs=1)
    assert set(comparison.figures) == set(CONTENDERS)
    for name, measured in comparison.figures.items():
        assert [figures.requests for figures in measured] == [30, 30]
        for figures, bounds in zip(measured, comparison.bounds, strict=True):
            ahead = name == "warm"
            least = (bounds.ahead_wait_seconds, bounds.ahead_load_seconds) if ahead else (bounds.load_seconds,) * 2
            assert figures.wait_seconds >= least[0] - 1e-9, name
            assert figures.load_seconds >= least[1] - 1e-9, name
            assert bounds.load_seconds >= bounds.ahead_load_seconds >= bounds.ahead_wait_seconds


def test_the_reference_is_always_there():
    assert list(compare(PLAN, ["lru"], [1], jobs=1).figures) == ["ollama", "lru"]


def test_several_processes_find_the_same():
    alone = compare(PLAN, ["gdsf", "adaptive"], [1, 2, 3], jobs=1)
    assert compare(PLAN, ["gdsf", "adaptive"], [1, 2, 3], jobs=2) == alone


def test_it_says_after_each_replay_that_something_is_done():
    said = []
    compare(PLAN, ["lru"], [1, 2], jobs=1, done=lambda: said.append(1))
    assert len(said) == steps(["lru"], [1, 2]) == 6  # two contenders and the bounds, twice


def test_an_unknown_contender_is_an_error():
    with pytest.raises(KeyError, match="nobody"):
        compare(PLAN, ["nobody"], [1], jobs=1)


def test_ratios_are_taken_workload_by_workload():
    comparison = Comparison((1, 2), {"ollama": [figures(10), figures(100)], "x": [figures(5), figures(100)]}, [])
    assert comparison.relative("x").mean == pytest.approx(0.75)
    assert comparison.mean("x", "wait_seconds").mean == 52.5


def test_nothing_waited_by_both_is_as_good():
    comparison = Comparison((1,), {"ollama": [figures(0)], "x": [figures(0)], "y": [figures(1)]}, [])
    assert comparison.relative("x").mean == 1
    assert comparison.relative("y").mean == float("inf")


def test_an_estimate_has_an_interval_around_its_mean_that_shrinks_with_more_values():
    few, many = Estimate.of([1.0, 2.0, 3.0, 4.0]), Estimate.of([1.0, 2.0, 3.0, 4.0] * 25)
    assert few.mean == many.mean == 2.5
    assert few.low < many.low < 2.5 < many.high < few.high
    # 95 % of a normal law: 1.96 · 1.118 / sqrt(100)
    assert many.high - 2.5 == pytest.approx(0.219, rel=0.15)


def test_a_single_value_has_no_interval():
    assert Estimate.of([3.0]) == Estimate(3.0, 3.0, 3.0)


def test_percentiles_of_waits_are_among_them():
    [one] = compare(PLAN, [], [1], jobs=1).figures["ollama"]
    assert 0 <= one.mean_wait <= one.p95_wait <= one.p99_wait <= 12


def test_a_plan_can_be_sent_to_another_process():
    assert pickle.loads(pickle.dumps(PLAN)) == PLAN  # noqa: S301 - our own bytes


def test_overlapping_requests_have_no_bound():
    comparison = compare(replace(PLAN, overlapping=True), ["lru"], [1], jobs=1)
    assert not comparison.bounds
    assert "bound on" not in comparison_table(comparison)


def test_the_table_has_a_line_for_each_contender_and_bound():
    head, *lines = comparison_table(compare(PLAN, ["lru", "adaptive"], [1, 2], jobs=1)).splitlines()
    assert head.split()[0] == "contender"
    assert [line.split("  ")[0] for line in lines] == [
        "ollama",
        "lru",
        "adaptive",
        "bound on demand",
        "bound ahead of use",
    ]
