"""What one contender's replay looked like over time: who waited when, and who was in memory. Draws nothing."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from proxy.sim.replay.contenders import enter
from proxy.sim.replay.simulator import simulate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from proxy.sim.replay.comparison import Plan

_POINTS = 400
_SLOTS = 800


@dataclass(frozen=True, slots=True)
class Timeline:
    """One replay, coarse enough to be drawn whatever its length.

    Attributes:
        name: of the contender.
        span_seconds: from the first arrival to the last.
        waited: (seconds since the start, seconds waited by then), about 400 points.
        stays: for each model, by name, when it was in memory: (from, until) in seconds, at most 400 of them.
        requests: for each model, how many there were.
    """

    name: str
    span_seconds: float
    waited: Sequence[tuple[float, float]]
    stays: Mapping[str, Sequence[tuple[float, float]]]
    requests: Mapping[str, int]


def timeline(plan: Plan, name: str, seed: int) -> Timeline:
    """Replay the workload of this seed once more, and keep what is to be drawn."""
    workload = plan.source.of(seed)
    span = max(1.0, workload.arrivals[-1].at)
    slots = {model.name: bytearray(_SLOTS) for model in workload.models}

    def left(model: str, since: float, until: float) -> None:
        first, last = (min(_SLOTS - 1, int(at / span * _SLOTS)) for at in (since, until))
        slots[model][first : last + 1] = b"\1" * (last + 1 - first)

    contender = enter(name, plan.settings, plan.machine, workload)
    result = simulate(workload, plan.machine, contender, seed=seed, overlapping=plan.overlapping, left=left)
    steps = list(zip((arrival.at for arrival in workload.arrivals), accumulate(result.waits), strict=True))
    every = -(-len(steps) // _POINTS)
    requests = dict.fromkeys(slots, 0)
    for arrival in workload.arrivals:
        requests[workload.models[arrival.model].name] += 1
    return Timeline(
        name=name,
        span_seconds=span,
        waited=[(0.0, 0.0), *steps[every - 1 :: every], steps[-1]],
        stays={model: _runs(taken, span / _SLOTS) for model, taken in slots.items()},
        requests=requests,
    )


def _runs(taken: bytearray, seconds: float) -> list[tuple[float, float]]:
    runs, begin = [], taken.find(1)
    while begin >= 0:
        end = taken.find(0, begin)
        end = len(taken) if end < 0 else end
        runs.append((begin * seconds, end * seconds))
        begin = taken.find(1, end)
    return runs
