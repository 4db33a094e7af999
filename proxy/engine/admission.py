"""Decides what the held requests do next. The numbers stand again in the code.

1 resident, fitting options, not on its way out      → forward at once
2 an operation is under way                          → wait for it (it may be loading this very model)
3 something has to be cleared (client, expiry)       → do that first
4 the oldest cold model first; what can make room?
  4a nobody has to leave, or only idle models        → load it; if Ollama would wait for busy ones, another one first
  4b only pinned models could leave                  → forward as it came
  4c models have to leave that have not had their turn → serve on, wait till they have
  4d busy models have to leave                       → admit nothing more to them, wait till they are idle;
                                                       who is idle of those that leave with them leaves at once
  4e … for max_wait in vain                          → admit once who wanted them meanwhile, then wait on
5 younger cold models that disturb nobody may go ahead of an older one that waits for others to leave
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from proxy.domain.effects import Cause, Observe, Outcome
from proxy.engine import operation, refreshing, serving, turn, worth
from proxy.engine.compatible import surely_reloads
from proxy.engine.state import Reserved

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.engine.state import Held, Running, State
    from proxy.policy import Room

_EXPIRY_DOUBT_SECONDS = 0.1
_WEIGHED_SECONDS = 0.2
"""An answer about room is good for so long: with many residents it takes milliseconds, and each event asks."""


def admit(state: State, at: float) -> None:
    """Let every held request go as far as it can go now."""
    if state.operation is None:
        state.draining, state.turn_ends_at = frozenset(), math.inf
        if len(state.held) == 1 and not state.to_clear:  # nobody older who might need its model's memory
            _serve_if_warm(state, next(iter(state.held.values())), at)
        if state.held or state.to_clear:
            _begin_next(state, at)
    if state.held:
        for held in tuple(state.held.values()):
            _serve_if_warm(state, held, at)


def patience_ends_at(state: State, held: Held) -> float:
    """When busy models that have to leave admit requests again, unix seconds: one long answer must not block all."""
    return max(held.arrived_at, state.admitted_at) + state.settings.max_wait_seconds


def _serve_if_warm(state: State, held: Held, at: float) -> None:
    """Case 1."""
    resident = state.residents.get(held.model)
    if resident is None or resident.leaving is not None or held.model in state.draining:
        return
    if state.operation is not None and state.operation.model == held.model:
        return  # being loaded or verified: step 6 of the operation serves it
    if resident.runs != held.wants and surely_reloads(resident, held.wants, state.learnt(held.model)):
        return
    if resident.idle and resident.expires_at <= at + _EXPIRY_DOUBT_SECONDS:
        resident.leaving = Cause.EXPIRY  # it may be gone already: ask before a request runs into a cold start
        state.emit(Observe())
        return
    serving.serve(state, held, resident, Outcome.WARM, at)


def _begin_next(state: State, at: float) -> None:
    if _clears(state, at):
        return
    waits_for_others = False
    for held in _oldest_of_each(state):  # case 4
        if waits_for_others and not _disturbs_nobody(state, held):  # case 5
            continue
        room = _room(state, held, at)
        if not room.fits:  # case 4b
            _pass_on_group(state, held, room.reason, at)
        elif (turn_ends_at := turn.ends_at(state, room.victims, held, at)) > at:  # case 4c
            waits_for_others = True
            state.turn_ends_at = min(state.turn_ends_at, turn_ends_at)
        elif room.idle:  # case 4a
            _load(state, held, room, at)
            return
        else:
            waits_for_others = True
            if at >= patience_ends_at(state, held):  # case 4e
                state.admitted_at, state.reserved = at, None
            else:  # case 4d
                state.draining |= frozenset(room.victims)
                if _idle_one_leaves(state, held, room, at):
                    return


def _clears(state: State, at: float) -> bool:
    """Case 3."""
    for model, (cause, reason) in tuple(state.to_clear.items()):
        resident = state.residents.get(model)
        if resident is not None and not resident.idle:
            continue  # Ollama knows already that a client unloads it, and waits as well
        del state.to_clear[model]
        if resident is not None:
            operation.begin_clearing(state, model, cause, reason, at)
            return True
    return False


def _idle_one_leaves(state: State, held: Held, room: Room, at: float) -> bool:
    """Have one leave that is idle, while others are busy: so Ollama's pause after an unload (OLLAMA.md 17) runs now.

    Not again after max_wait in vain: the busy one may be so for ever, and who wants the idle one would wait as long.
    """
    victim = next((model for model in room.victims if state.residents[model].idle), None)
    if victim is None or state.admitted_at >= held.arrived_at:
        return False
    if victim != held.model:
        state.usage.evicted(at, len(state.residents))
    before = state.reserved.sizes if state.reserved is not None and state.reserved.request_id == held.request_id else ()
    state.reserved = Reserved(held.request_id, (*before, state.residents[victim].vram_bytes))
    cause = Cause.RELOAD if victim == held.model else Cause.EVICTION
    operation.begin_clearing(state, victim, cause, room.reason, at)
    return True


def _oldest_of_each(state: State) -> Iterator[Held]:
    """The oldest waiting request of each model and options that is not resident."""
    seen: set[tuple[str, Running]] = set()
    for held in tuple(state.held.values()):
        group = (held.model, held.wants)
        resident = state.residents.get(held.model)
        usable = resident is not None and not surely_reloads(resident, held.wants, state.learnt(held.model))
        if group not in seen and not usable and held.request_id in state.held:
            seen.add(group)
            yield held


def _room(state: State, held: Held, at: float) -> Room:
    """What makes room, weighed anew where who is there or busy has changed; losses change slowly."""
    residents = tuple((resident.model, resident.vram_bytes, resident.idle) for resident in state.residents.values())
    question = (held.model, held.wants, residents, state.settings, state.budget)
    if state.weighed is None or state.weighed[0] != question or at - state.weighed[1] > _WEIGHED_SECONDS:
        state.weighed = (question, at, _weigh(state, held, at))
    return state.weighed[2]


def _weigh(state: State, held: Held, at: float) -> Room:
    """What makes room; a resident of the same model with other options has to leave first (OLLAMA.md 7)."""
    memory = worth.memory(state, at, without=[held.model])
    room = state.policy.make_room(memory, worth.need(state, held.model, held.wants.options))
    own = state.residents.get(held.model)
    if own is None:
        return room
    reason = f"asked for with other runner options; {room.reason}"
    return replace(room, victims=(held.model, *room.victims), idle=room.idle and own.idle, reason=reason)


def _disturbs_nobody(state: State, held: Held) -> bool:
    """It has a place of its own, and Ollama sees it too; asked for each of many that wait, so nothing is weighed."""
    model, options = held.model, held.wants.options
    if model in state.residents:
        return False
    reserved = state.reserved.sizes if state.reserved is not None and state.reserved.request_id in state.held else ()
    return worth.has_place(state, model, options, reserved) and worth.surely_let_in(state, model, options)


def _load(state: State, held: Held, room: Room, at: float) -> None:
    state.draining = frozenset()
    anew = refreshing.to_load_anew(state, held, room.victims, at)
    if anew is not None and anew.runs is not None:
        victims = [*(victim for victim in room.victims if victim != anew.model), anew.model]
        reason = f"loaded anew, so that Ollama sees the room for {held.model} beside busy models"
        operation.begin_load(state, anew.runs, anew.model, victims, Cause.RELOAD, reason, at, held.request_id)
        return
    cause = Cause.RELOAD if held.model in state.residents else Cause.COLD
    operation.begin_load(state, held.wants, held.model, room.victims, cause, room.reason, at, held.request_id)


def _pass_on_group(state: State, held: Held, reason: str, at: float) -> None:
    for other in tuple(state.held.values()):
        if (other.model, other.wants) == (held.model, held.wants):
            serving.pass_on(state, other, reason, at)
