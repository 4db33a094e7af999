"""The pause between an unload and a load: for the driver (OLLAMA.md 18), and for Ollama's own look at memory (17)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from proxy.domain.effects import Cause
from proxy.engine import worth

if TYPE_CHECKING:
    from proxy.domain.model import ObservedResident
    from proxy.engine.state import Operation, State

_LONGEST_SECONDS = 5.0
_DRIVER_SETTLE_SECONDS = 0.05
"""Where the driver tells what is free it is asked after each unload, however short the settling."""
_SHORTEST_SECONDS = 0.05
_FIRST_REPAIR_SECONDS = 0.25
_REPAIR_FACTOR = 4.0
_PROOFS = 3
_TOLERANCE_SECONDS = 0.1
_OLLAMAS_LOOK_SECONDS = 0.45
_OLLAMAS_PAUSE_SECONDS = 5.0
_WEIGHT = 0.2


@dataclass(frozen=True, slots=True)
class Settling:
    """The pause between an unload and a load, and what is known about it.

    Half of it is tried after three loads that needed the memory and had it. Too short a pause costs a load that has to
    be repeated, so after the first one that was, no shorter pause is tried any more.

    Attributes:
        first_seconds: the pause at first, as the settings say.
        seconds: the pause, 0 … 5.
        proofs: loads in a row that had what had just been unloaded.
        tries: whether shorter ones are still tried.
    """

    first_seconds: float
    seconds: float
    proofs: int = 0
    tries: bool = True

    @classmethod
    def at_first(cls, seconds: float) -> Settling:
        """Nothing is known yet."""
        return cls(seconds, seconds)

    def sufficed(self) -> Settling:
        """A load had memory that was unloaded just before."""
        if self.proofs + 1 < _PROOFS or not self.tries or self.seconds == 0:
            return replace(self, proofs=self.proofs + 1)
        half = self.seconds / 2
        return replace(self, seconds=half if half >= _SHORTEST_SECONDS else 0.0, proofs=0)

    def too_short(self) -> Settling:
        """A load spilled although it should have fitted: back to the first pause, from there on four times as long."""
        longer = min(_LONGEST_SECONDS, max(self.seconds, _FIRST_REPAIR_SECONDS) * _REPAIR_FACTOR)
        longer = self.first_seconds if self.seconds < self.first_seconds else max(self.seconds, longer)
        return Settling(self.first_seconds, longer, tries=False)


def unload_ended(state: State, freed_bytes: int, at: float) -> None:
    """Note what has just been unloaded; it counts with all that was, each within five seconds after the one before."""
    if at > state.last_unload_at + _LONGEST_SECONDS:
        state.unsettled_bytes = 0
    state.unsettled_bytes += freed_bytes
    state.last_unload_at = at


def settled_at(state: State, operation: Operation) -> float:
    """When the memory of what was unloaded is free by the driver's word, too, unix seconds."""
    if operation.settled_at >= state.last_unload_at:
        return operation.settled_at
    shortest = _DRIVER_SETTLE_SECONDS if state.budget.driver_total is not None else 0.0
    return state.last_unload_at + max(shortest, state.settling.seconds)


def fits_anyway(state: State, operation: Operation) -> bool:
    """By Ollama's rule there is room even if all that was unloaded still counts as used: nothing has to settle.

    What is loaded anew is to see what is really free: that is what it is for, or it has just seen too little.
    """
    usable = state.budget.usable(state.settings)
    anew = operation.cause in (Cause.RELOAD, Cause.SPILL)
    if anew or usable is None or operation.model is None or operation.loads is None:
        return False
    needed = worth.needed_bytes(state, operation.model, operation.loads.options)
    return 0 < needed <= worth.OLLAMA_RULE * (usable - state.used_bytes() - state.unsettled_bytes)


def others_bytes(state: State, operation: Operation, at: float) -> int:
    """GPU memory that Ollama sees used when the load begins, which is what it believes from then on (OLLAMA.md 16).

    That nothing lags is assumed until a load has spilled for it.
    """
    lags = not state.settling.tries and at < settled_at(state, operation)
    return state.used_bytes() + (state.unsettled_bytes if lags else 0)


def should_have_fitted(state: State, operation: Operation, observed: ObservedResident) -> bool:
    """Only what was unloaded shortly before the load can still have counted as used."""
    if state.last_unload_at < operation.loading_at - _LONGEST_SECONDS:
        return False
    others = sum(r.vram_bytes for r in state.residents.values() if r.model != operation.model)
    limits = [limit for limit in (state.budget.total(state.settings), state.budget.spilled_at) if limit is not None]
    return others + observed.bytes <= min(limits, default=inf)


def needed_what_was_freed(state: State, operation: Operation) -> bool:
    """Had the last victim's memory still counted as used, the model would have spilled; asked where no driver tells.

    A load that began later than the pause demands, for another reason, tells nothing about the pause.
    """
    total = state.budget.total(state.settings)
    if total is None or state.budget.driver_total is not None or not operation.freed_bytes:
        return False
    if operation.loading_at > state.last_unload_at + state.settling.seconds + _TOLERANCE_SECONDS:
        return False
    return state.used_bytes() + operation.freed_bytes > total


def load_begins(state: State, operation: Operation, at: float) -> None:
    """Note when a load takes the memory of the only one loaded.

    Ollama looks 0.4 s after that one's unload whether memory is free. If the load has taken it by then, Ollama goes on
    looking for 5 s, and the next unload has to wait for that.
    """
    lone = operation.freed_bytes > 0 and not state.residents
    state.lone_swap = (operation.model, at) if lone and operation.model is not None else None


def unload_begins(state: State, at: float) -> None:
    """Learn how long an unload that follows the load has to wait for that."""
    if state.lone_swap is None:
        return
    model, since = state.lone_swap
    state.lone_swap = None
    learnt = state.learnt(model)
    learnt.holds_up_seconds += _WEIGHT * (max(0.0, since + _OLLAMAS_PAUSE_SECONDS - at) - learnt.holds_up_seconds)


def ollama_has_looked_at(state: State, model: str) -> float:
    """When Ollama has seen the memory free, unix seconds; minus infinity where nobody will have to wait for it."""
    if state.residents or state.learnt(model).holds_up_seconds <= _OLLAMAS_LOOK_SECONDS:
        return -inf
    return state.last_unload_at + _OLLAMAS_LOOK_SECONDS
