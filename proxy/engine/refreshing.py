"""Has an idle model loaded anew, so that Ollama sees what is free, where it would else wait for busy ones to leave.

Ollama asks one of the loaded models what is free, and each tells what was true when it was loaded (OLLAMA.md 16). Where
all that stay tell too little and some are busy, Ollama takes a busy one for its victim, and the load waits for its last
answer. A model loaded anew tells the truth, and takes the lowest slot of Ollama's map: it is the one asked most often.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.engine import worth

if TYPE_CHECKING:
    from collections.abc import Collection

    from proxy.engine.state import Held, Resident, State

_AGAIN_SECONDS = 10.0


def to_load_anew(state: State, held: Held, victims: Collection[str], at: float) -> Resident | None:
    """Return the idle model to load anew before the model that a request waits for; None: that would not help.

    Args:
        state: of the engine.
        held: the request.
        victims: residents that leave for it, all idle.
        at: now, unix seconds.
    """
    total = state.budget.total(state.settings)
    stays = [resident for resident in state.residents.values() if resident.model not in victims]
    busy_seconds = max((worth.remaining_seconds(state, resident, at) for resident in stays), default=0.0)
    if total is None or not busy_seconds or held.model in state.residents:
        return None
    needed = worth.needed_bytes(state, held.model, held.wants.options)
    if any(needed <= worth.OLLAMA_RULE * (resident.believed_bytes(total) or 0) for resident in stays):
        return None  # it may be let in as things are
    quickest, least_seconds = None, busy_seconds - state.settling.seconds
    for resident in state.residents.values():
        beside = [other for other in stays if other is not resident]
        free = total - resident.vram_bytes - sum(other.vram_bytes for other in beside)
        has_place = len(beside) + 2 <= state.budget.max_models(state.settings) and needed <= worth.OLLAMA_RULE * free
        seconds = worth.load_seconds(state, resident.model, at)
        if has_place and seconds < least_seconds and _may_be_loaded_anew(state, resident, at):
            quickest, least_seconds = resident, seconds
    return quickest


def _may_be_loaded_anew(state: State, resident: Resident, at: float) -> bool:
    """Once in a while, and only what we know how to load as it is."""
    pinned = state.settings.rule_for(resident.model).pin
    ready = resident.idle and resident.leaving is None and resident.runs is not None
    return ready and not pinned and at - resident.loaded_at > _AGAIN_SECONDS
