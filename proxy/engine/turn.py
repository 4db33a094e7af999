"""Lets a model have its turn: no eviction between two requests of someone who is at work with it.

Where the models at work don't fit in together, each swap would serve a single request and both sides would wait for
every answer. So a model in use stays for some multiples of what its swap took, unless its clients, as learnt, rarely
come back at once, or not while another waits: then waiting for them would be in vain. (Disk schedulers know this as
anticipation.)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.engine.state import Held, Learnt, Resident, State

SOON_SECONDS = 4.0
"""Pause between an answer and the next request that belongs to the same piece of work."""
_TURN_SWAPS = 4.0
_WEIGHT = 0.2


def learn(state: State, learnt: Learnt, at: float) -> None:
    """A request for the model arrived: did it come soon after the last answer, and while another waited for its leave?

    One who asks for both models never comes back to the one before he has the other: waiting for him is in vain.
    """
    soon = at - learnt.answered_at <= SOON_SECONDS
    if learnt.answered_at > -math.inf:
        learnt.comes_back_soon += _WEIGHT * (soon - learnt.comes_back_soon)
    if learnt.awaited_by is not None:
        waits = learnt.awaited_by in state.held or learnt.awaited_by in state.in_flight
        learnt.comes_back_awaited += _WEIGHT * ((soon and waits) - learnt.comes_back_awaited)
        learnt.awaited_by = None


def ends_at(state: State, victims: Iterable[str], held: Held, at: float) -> float:
    """When the victims have had their turn, unix seconds; not after `at`: they may leave now.

    Args:
        state: of the engine.
        victims: residents that are to leave.
        held: the request for which they leave; it waits for no turn after `max_wait`.
        at: now, unix seconds.
    """
    ends = -math.inf
    for model in victims:
        state.learnt(model).awaited_by = held.request_id
        ends = max(ends, _turn(state, state.residents[model], at))
    return min(ends, held.arrived_at + state.settings.max_wait_seconds)


def _turn(state: State, resident: Resident, at: float) -> float:
    ends = resident.loaded_at + _TURN_SWAPS * resident.swap_seconds
    learnt = state.learnt(resident.model)
    comes_back = min(learnt.comes_back_soon, learnt.comes_back_awaited)
    gain_seconds, vain_seconds = comes_back * resident.swap_seconds, (1.0 - comes_back) * SOON_SECONDS
    if ends <= at or gain_seconds <= vain_seconds:
        return -math.inf
    return min(ends, resident.last_used_at + SOON_SECONDS) if resident.idle else ends
