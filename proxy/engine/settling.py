"""Learns how long the driver takes to have an unloaded model's memory free, where it can't be asked (OLLAMA.md 18)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.domain.model import ObservedResident
    from proxy.engine.state import Operation, State

_LONGEST_SECONDS = 5.0
_SHORTEST_SECONDS = 0.05
_FIRST_REPAIR_SECONDS = 0.25
_REPAIR_FACTOR = 4.0
_PROOFS = 3


@dataclass(frozen=True, slots=True)
class Settling:
    """The pause between an unload and a load, and what is known about it.

    Half of it is tried after three loads that needed the memory and had it. Too short a pause costs a load that has to
    be repeated, so after the first one that was, no shorter pause is tried any more.

    Attributes:
        seconds: the pause, 0 … 5.
        proofs: loads in a row that had what had just been unloaded.
        proven_seconds: the shortest pause of which that is known; infinity: of none.
        tries: whether shorter ones are still tried.
    """

    seconds: float
    proofs: int = 0
    proven_seconds: float = inf
    tries: bool = True

    def sufficed(self) -> Settling:
        """A load had memory that was unloaded just before."""
        if self.proofs + 1 < _PROOFS or not self.tries or self.seconds == 0:
            return replace(self, proofs=self.proofs + 1)
        half = self.seconds / 2
        return Settling(half if half >= _SHORTEST_SECONDS else 0.0, proven_seconds=self.seconds)

    def too_short(self) -> Settling:
        """A load spilled although it should have fitted: back to what was long enough, else four times as long."""
        longer = max(self.seconds, _FIRST_REPAIR_SECONDS) * _REPAIR_FACTOR
        if self.seconds < self.proven_seconds < inf:
            longer = self.proven_seconds
        return Settling(min(_LONGEST_SECONDS, longer), tries=False)


def should_have_fitted(state: State, operation: Operation, observed: ObservedResident) -> bool:
    """Only what was unloaded shortly before the load can still have counted as used."""
    if state.last_unload_at < operation.loading_at - _LONGEST_SECONDS:
        return False
    others = sum(r.vram_bytes for r in state.residents.values() if r.model != operation.model)
    limits = [limit for limit in (state.budget.total(state.settings), state.budget.spilled_at) if limit is not None]
    return others + observed.bytes <= min(limits, default=inf)


def needed_what_was_freed(state: State, operation: Operation) -> bool:
    """Had the last victim's memory still counted as used, the model would have spilled; asked where no driver tells."""
    total = state.budget.total(state.settings)
    if total is None or state.budget.driver_total is not None or not operation.freed_bytes:
        return False
    return state.used_bytes() + operation.freed_bytes > total
