"""keepwarm's own rule with a crystal ball: greedy as it is, but it knows when each model is asked for next.

No policy can be that: how much better it is says what better forecasts could win. Never looks beyond the next use.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import exp, inf
from typing import TYPE_CHECKING, Final

from proxy.policy import Adaptive, Ttl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.policy import Ahead, Memory, Need, Resident, Room, Soon, Stay, Wanted, WarmUp
    from proxy.sim.replay.workload import Workload

_HORIZON_SECONDS: Final = 600.0


class Clairvoyant(Adaptive):
    """The rule of POLICY.md with losses that follow from the time until the next use: load time · e^(-time / 10 min).

    Args:
        workload: what is going to happen.
    """

    def __init__(self, workload: Workload) -> None:
        self._times: dict[str, list[float]] = {model.name: [] for model in workload.models}
        for arrival in workload.arrivals:
            self._times[workload.models[arrival.model].name].append(arrival.at)
        self._used: Counter[str] = Counter()
        self._now = 0.0

    def asked(self, model: str, at: float) -> None:
        """Tick off a request."""
        self._now = at
        self._used[model] += 1

    def make_room(self, memory: Memory, need: Need) -> Room:
        """Choose the set of victims of least cost."""
        return super().make_room(self._foreseen(memory), need)

    def room_ahead(self, memory: Memory, wanted: Sequence[Wanted]) -> Ahead | None:
        """Make room for the very next request, if that saves waiting."""
        following = min(wanted, key=lambda w: (self._next_use(w.model), w.model), default=None)
        certain = [w._replace(hazard=1.0 if w is following else 0.0) for w in wanted]
        return super().room_ahead(self._foreseen(memory), certain)

    def warm_up(self, memory: Memory, soon: Sequence[Soon]) -> WarmUp | None:  # noqa: ARG002 - Policy's signature
        """Load on demand only."""
        return None

    def ttl(self, stay: Stay) -> Ttl:
        """Keep every model for the maximum."""
        return Ttl(stay.max_seconds, lambda: "kept for the maximum")

    def _foreseen(self, memory: Memory) -> Memory:
        return replace(memory, residents=tuple(self._with_foresight(resident) for resident in memory.residents))

    def _with_foresight(self, resident: Resident) -> Resident:
        chance = exp(-max(0.0, self._next_use(resident.model) - self._now) / _HORIZON_SECONDS)
        return replace(resident, return_probability=chance, loss_seconds=resident.load_seconds * chance)

    def _next_use(self, model: str) -> float:
        times, used = self._times.get(model, ()), self._used[model]
        return times[used] if used < len(times) else inf
