"""How long clients have to wait at least, whatever the policy, even if it knows all requests and loads ahead of use.

Holds for sequential replays, in which the next request is issued when the last one was served.

Proof. Take a stretch of requests a … b. Between the moments at which a and b were served there passed, for each request
k after a, the gap until it was issued and its wait. The gap is at most G(k), the time between the arrivals of k-1 and k
(or the answer, if that takes longer), because a request that waited can only shorten the gap after it. Loads follow one
another, so all loads begun and ended in the stretch fit into that time:

    loads begun and ended in the stretch <= sum of G(k) + sum of wait(k)

When k is served, its model is loaded. Either it was held (loaded or being loaded) without a break since its last use in
the stretch, or since a was served; or a load of it was begun and ended in between, one that counts for no other
request. What is held at one moment can be loaded in some order. So the loads are at least V(a, b): the least cost of
choosing, for each request, whether its model is held since its last use or loaded anew, what is held together being
possible in some order, and what is held when a is served being free to choose. Hence

    waiting of the requests after a up to b >= V(a, b) - sum of G(k)

Stretches that share no request after their first add up; which ones are chosen decides how good the bound is, not
whether it holds. V(a, b) is reckoned backwards from b: a model is paid for where its last use is met, and again
wherever it was not held in between; what is held in the end, at a, was there from the start and is given back.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from proxy.policy.belief import bits
from proxy.sim.replay.optimum import Capacity, Costs, Neighbours, step, without_hopeless
from proxy.sim.replay.simulator import SEQUENTIAL_SERVICE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.sim.replay.workload import Arrival, Workload

_ANSWER_SECONDS = 0.01


def least_wait_seconds(workload: Workload, capacity: Capacity) -> float:
    """Seconds that clients wait for models at the very least, all together; 0 where the bound has nothing to say.

    The gaps are mostly longer than the loads of lone users, so a policy that knew the future could nearly always have
    loaded in time: the bound is then far below what can be reached, and says so by being small.
    """
    requests = _with_gaps(workload.arrivals)
    bound = _Bound(workload, capacity)
    total, last = 0.0, len(requests) - 1
    while last > 0:
        gained, first = bound.best_stretch(requests, last)
        total += gained
        last = first
    return total


def _with_gaps(arrivals: Sequence[Arrival]) -> list[tuple[int, float]]:
    """The models asked for, each with the longest gap that there can be before it."""
    gaps = (
        max(arrival.at - before.at, min(before.service_seconds, SEQUENTIAL_SERVICE_SECONDS))
        for before, arrival in pairwise(arrivals)
    )
    return [(arrival.model, gap) for arrival, gap in zip(arrivals, (0.0, *gaps), strict=True)]


class _Bound:
    """Looks for stretches in which loads take longer than there is time."""

    def __init__(self, workload: Workload, capacity: Capacity) -> None:
        self._loads = [model.load_seconds for model in workload.models]
        self._neighbours = Neighbours(workload.models, capacity, any_order=True)
        self._full_seconds = sum(sorted(self._loads, reverse=True)[: capacity.max_models])

    def best_stretch(self, requests: Sequence[tuple[int, float]], last: int) -> tuple[float, int]:
        """The waiting in the best stretch that ends with `last`, and where it begins; 0 and the one before if none.

        A longer stretch costs at most what its two parts cost and loading a full memory in between. So once the time
        to spare exceeds that, it is better to end the stretch.
        """
        latest, gap = requests[last]
        costs: Costs = {1 << latest: self._loads[latest]}
        best, best_first, least, spare = 0.0, last - 1, 0.0, gap
        for first in range(last - 1, -1, -1):
            model, gap = requests[first]
            if model != latest:
                costs = without_hopeless(step(costs, model, self._loads[model], self._neighbours), self._loads)
                latest, least = model, self._least(costs)
            waiting = least - spare
            if waiting > best:
                best, best_first = waiting, first
            if waiting + self._full_seconds <= best:
                break
            spare += gap
        return best, best_first

    def _least(self, costs: Costs) -> float:
        return min(cost - sum(self._loads[i] for i in bits(held)) for held, cost in costs.items())
