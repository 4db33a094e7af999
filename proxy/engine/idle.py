"""What is done while nobody waits: give back what its price no longer justifies, load and make room ahead of need."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from proxy.domain.effects import Cause
from proxy.domain.model import RunnerOptions
from proxy.domain.units import format_duration
from proxy.engine import keep_alive, operation, worth
from proxy.engine.state import Running
from proxy.engine.warming import Warming

if TYPE_CHECKING:
    from proxy.engine.state import Resident, State

IDLE_SECONDS = 3.0
_UNLOAD_WAIT_SECONDS = 5.2
_LOOK_AGAIN_SECONDS = 6.0
_RAREST_LOOK_SECONDS = 600.0
_EXPIRY_GRACE_SECONDS = 1.0
_RENEWAL_SECONDS = 60.0
_RETRY_SECONDS = 5.0


@dataclass(slots=True)
class IdleWork:
    """Remembers when it last looked for room to make ahead; looks less and less often while nothing happens."""

    looked_at: float = -math.inf
    ordered_at: float = -math.inf
    pause_seconds: float = _LOOK_AGAIN_SECONDS
    warming: Warming = field(default_factory=Warming)

    def work(self, state: State, at: float) -> None:
        """Begin what is worth doing now, if nobody waits and nothing is under way."""
        if state.operation is not None or state.held or not state.known:
            return
        for resident in state.residents.values():
            if _renewed_at(state, resident) <= at:
                runs = resident.runs or Running(resident.shown, RunnerOptions())
                keep_alive.touch(state, resident, runs, keep_alive.decide(state, resident.model, at), at)
            if _expires_at(state, resident) <= at:
                idle, worth_keeping = format_duration(at - resident.last_used_at), format_duration(resident.ttl_seconds)
                reason = f"idle for {idle}, worth keeping {worth_keeping}"
                operation.begin_clearing(state, resident.model, Cause.EXPIRY, reason, at)
                return
        if at >= self.warming.next_look(state):
            self.warming.look(state, at)
        if state.operation is None and at >= self.next_look(state):
            self._look_ahead(state, at)
        if state.operation is None and self._orders_at(state) <= at:
            self.ordered_at = at
            keep_alive.restore_order(state, at)

    def next_look(self, state: State) -> float:
        """Return when room ahead is to be considered next, unix seconds."""
        if len(state.residents) < 2:  # noqa: PLR2004 - a single resident's unload is waited for by nobody
            return math.inf
        return max(
            state.last_activity_at + IDLE_SECONDS,
            state.last_unload_at + _UNLOAD_WAIT_SECONDS,
            self._last_look(state) + self.pause_seconds,
        )

    def wake_at(self, state: State) -> float:
        """Return when there may be something to do, unix seconds; infinity: not before something happens."""
        if state.operation is not None or state.held or not state.known:
            return math.inf
        residents = state.residents.values()
        times = [min(_expires_at(state, resident), _renewed_at(state, resident)) for resident in residents]
        return min(self.warming.next_look(state), self.next_look(state), self._orders_at(state), *times)

    def _orders_at(self, state: State) -> float:
        """When the residents' numbers are put in order, once after each activity."""
        done = self.ordered_at >= state.last_activity_at or len(state.residents) < 2  # noqa: PLR2004 - one is in order
        return math.inf if done else state.last_activity_at + IDLE_SECONDS

    def _last_look(self, state: State) -> float:
        if self.looked_at < state.last_activity_at:
            self.looked_at, self.pause_seconds = -math.inf, _LOOK_AGAIN_SECONDS
        return self.looked_at

    def _look_ahead(self, state: State, at: float) -> None:
        policy = state.policy
        ahead = policy.room_ahead(worth.memory(state, at), worth.wanted(state, at)) if policy.looks_ahead else None
        self.looked_at = at
        if ahead is None:
            self.pause_seconds = min(_RAREST_LOOK_SECONDS, 2 * self.pause_seconds)
        else:
            state.usage.returns.left(ahead.victim, ahead.return_chance)
            operation.begin_clearing(state, ahead.victim, Cause.ROOM_AHEAD, ahead.reason, at)


def leaves_at(state: State, resident: Resident) -> float:
    """When an idle model leaves if nobody asks for it, unix seconds; infinity: never."""
    if state.settings.rule_for(resident.model).pin:
        return math.inf
    return min(resident.expires_at, _expires_at(state, resident))


def _renewed_at(state: State, resident: Resident) -> float:
    """When a pinned model's timer is to be wound up again: Ollama knows no number that is finite and never ends."""
    if not state.settings.rule_for(resident.model).pin or not resident.idle or resident.leaving:
        return math.inf
    if resident.model in state.touching:
        return math.inf
    ahead = min(_RENEWAL_SECONDS, resident.written / 2) if resident.written else _RENEWAL_SECONDS
    return max(resident.expires_at - ahead, resident.touched_at + _RETRY_SECONDS)


def _expires_at(state: State, resident: Resident) -> float:
    """When our own TTL runs out, if Ollama's number was lifted above it to keep the order of the ranks."""
    ours_at = resident.last_used_at + resident.ttl_seconds
    ours = resident.written is not None and resident.expires_at > ours_at + _EXPIRY_GRACE_SECONDS
    if not ours or not resident.idle or resident.leaving or state.settings.rule_for(resident.model).pin:
        return math.inf
    return ours_at
