"""Lets a model have its turn: no eviction between two requests of someone who is at work with it.

Where the models at work don't fit in together, each swap would serve a single request and both sides would wait for
every answer. So a model in use stays for some multiples of what its swap took, unless its clients, as learnt, rarely
come back at once: then waiting for them would be in vain. (Disk schedulers know this as anticipation.)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.engine.state import Learnt, Resident, State

SOON_SECONDS = 4.0
"""Pause between an answer and the next request that belongs to the same piece of work."""
_TURN_SWAPS = 4.0
_WEIGHT = 0.2


def learn(learnt: Learnt, at: float) -> None:
    """A request for the model arrived: did it come soon after the last answer?"""
    if learnt.answered_at == -math.inf:
        return
    soon = at - learnt.answered_at <= SOON_SECONDS
    learnt.comes_back_soon += _WEIGHT * (soon - learnt.comes_back_soon)


def ends_at(state: State, victims: Iterable[str], waits_since: float, at: float) -> float:
    """When the victims have had their turn, unix seconds; not after `at`: they may leave now.

    Args:
        state: of the engine.
        victims: residents that are to leave.
        waits_since: when the request arrived for which they leave; it waits for no turn after `max_wait`.
        at: now, unix seconds.
    """
    latest = waits_since + state.settings.max_wait_seconds
    return min(latest, max((_turn(state, state.residents[model], at) for model in victims), default=-math.inf))


def _turn(state: State, resident: Resident, at: float) -> float:
    ends = resident.loaded_at + _TURN_SWAPS * resident.swap_seconds
    comes_back = state.learnt(resident.model).comes_back_soon
    gain_seconds, vain_seconds = comes_back * resident.swap_seconds, (1.0 - comes_back) * SOON_SECONDS
    if ends <= at or gain_seconds <= vain_seconds:
        return -math.inf
    return min(ends, resident.last_used_at + SOON_SECONDS) if resident.idle else ends
