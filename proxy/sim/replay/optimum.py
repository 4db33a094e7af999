"""The least that any policy could have loaded, knowing all requests beforehand: exact, by dynamic programming.

Requests come one after another, as in a sequential replay; where they overlap, a policy that puts them in another order
may do with less. Pauses after unloads, settling and Ollama's stale beliefs cost nothing here: no policy escapes the
bound because of them. Times do not matter, only the order of the requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, groupby
from math import inf
from typing import TYPE_CHECKING

from proxy.policy.belief import FILL, bits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.sim.replay.workload import Workload, WorkloadModel

_PRUNE_FROM = 200

Costs = dict[int, float]
"""The least cost of having exactly these models loaded, which are a bit mask over the workload's models."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What may be loaded together: the plain rule of Ollama (OLLAMA.md 8).

    A model is let in alone, or beside fewer than `max_models` others if it takes at most 80 % of what they leave of
    `gpu_bytes`.
    """

    gpu_bytes: int
    max_models: int


class Neighbours:
    """Who may stay when a model comes: only the sets to which nobody could be added, since more never costs more.

    Args:
        models: all models.
        capacity: what may be loaded together.
        any_order: a set counts as possible if there is an order to load it in (the largest first, if any), whatever
            the order of the requests. That holds for policies that load ahead of use, too.
    """

    def __init__(self, models: tuple[WorkloadModel, ...], capacity: Capacity, *, any_order: bool) -> None:
        self._bytes = [model.bytes for model in models]
        self._capacity = capacity
        self._may_stay = self._in_some_order if any_order else self._beside
        self._known: dict[tuple[int, int], tuple[int, ...]] = {}

    def after(self, residents: int, model: int) -> tuple[int, ...]:
        """The possible sets once the model, which is not among the residents, is loaded too."""
        known = self._known.get((residents, model))
        if known is None:
            known = self._known[residents, model] = tuple(self._maximal(residents, model))
        return known

    def _maximal(self, residents: int, model: int) -> Iterator[int]:
        candidates = list(bits(residents))
        fewest = max(0, len(candidates) + 1 - self._capacity.max_models)
        found: list[int] = []
        for count in range(fewest, len(candidates) + 1):
            for leaving in combinations(candidates, count):
                victims = sum(1 << victim for victim in leaving)
                if not any(fewer & victims == fewer for fewer in found) and self._may_stay(residents ^ victims, model):
                    found.append(victims)
                    yield residents ^ victims | 1 << model

    def _beside(self, stays: int, model: int) -> bool:
        used = sum(self._bytes[i] for i in bits(stays))
        return not stays or self._bytes[model] <= FILL * (self._capacity.gpu_bytes - used)

    def _in_some_order(self, stays: int, model: int) -> bool:
        """Largest first is the best order: of two neighbours in it, the smaller asks less of what the larger leaves."""
        first, *rest = sorted((self._bytes[i] for i in bits(stays | 1 << model)), reverse=True)
        used = first
        for size in rest:
            if size > FILL * (self._capacity.gpu_bytes - used):
                return False
            used += size
        return True


def least_load_seconds(workload: Workload, capacity: Capacity, *, ahead: bool = False) -> float:
    """Seconds that the best policy spends loading.

    Args:
        workload: models and requests.
        capacity: what may be loaded together.
        ahead: False: exact for policies that load a model when it is asked for, and for the waiting of those a bound.
            True: at most as much, and a bound for policies that load ahead of use as well.

    Of a policy that loads ahead, put each load off to the request that uses it first: what is loaded then is at every
    moment part of what was loaded before, and so still possible in some order; the seconds are the same. So the best
    policy on demand, under the weaker rule of any order, spends no more.
    """
    neighbours = Neighbours(workload.models, capacity, any_order=ahead)
    loads = [model.load_seconds for model in workload.models]
    costs: Costs = {0: 0.0}
    pruned = _PRUNE_FROM
    for model, _ in groupby(arrival.model for arrival in workload.arrivals):
        costs = step(costs, model, loads[model], neighbours)
        if ahead:
            costs = without_hopeless(costs, loads)
        elif len(costs) > 2 * pruned:
            costs = _without_dominated(costs)
            pruned = max(_PRUNE_FROM, len(costs))
    return min(costs.values())


def step(costs: Costs, model: int, load_seconds: float, neighbours: Neighbours) -> Costs:
    """The costs after a request for the model."""
    bit, after = 1 << model, neighbours.after
    new: Costs = {}
    for residents, cost in costs.items():
        if residents & bit:
            if cost < new.get(residents, inf):
                new[residents] = cost
        else:
            loaded = cost + load_seconds
            for then in after(residents, model):
                if loaded < new.get(then, inf):
                    new[then] = loaded
    return new


def without_hopeless(costs: Costs, loads: list[float]) -> Costs:
    """Leave out what costs no less than the cheapest set and loading what that lacks; for any order only.

    Where only sets matter and not the order of loading, who has the cheapest set can do from now on what another does,
    loading what is missing when it is first asked for.
    """
    cheapest = min(costs, key=costs.__getitem__)
    least = costs[cheapest]
    return {
        residents: cost
        for residents, cost in costs.items()
        if residents == cheapest or cost < least + sum(loads[i] for i in bits(residents & ~cheapest))
    }


def _without_dominated(costs: Costs) -> Costs:
    """Leave out what costs no less than a set that holds the same models and more."""
    kept: list[tuple[int, float]] = []
    for residents, cost in sorted(costs.items(), key=lambda item: item[1]):
        if not any(residents & more == residents for more, _ in kept):
            kept.append((residents, cost))
    return dict(kept)
