"""The decision core of one upstream: `handle(event)` returns the effects. The only writer of its state."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from proxy.domain.effects import Cause, Effect, Observe, Regretted, WakeAt
from proxy.domain.events import (
    Ending,
    Event,
    LoadEnded,
    MemoryObserved,
    RequestArrived,
    RequestEnded,
    ResidentsObserved,
    ResidentsUnknown,
    SettingsChanged,
    Settled,
    Tick,
    TouchEnded,
    UnloadEnded,
)
from proxy.engine import admission, num_ctx, operation, residency, serving, turn, verdicts, worth
from proxy.engine.budget import Budget
from proxy.engine.identity import Identities
from proxy.engine.idle import IDLE_SECONDS, IdleWork
from proxy.engine.settling import Settling
from proxy.engine.state import Held, InFlight, Resident, Running, State
from proxy.policy import Fixed, Policy, UsageBook, policies

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.domain.model import ModelFacts, RunnerOptions
    from proxy.domain.settings import EngineSettings

REGRET_SECONDS = 300.0
_DRIVER_LAG_SECONDS = 5.0
_ABOUT_REQUESTS = (RequestArrived, RequestEnded)  # a union would be built anew at each event


def make_policy(settings: EngineSettings) -> Policy:
    """Build the policy that the settings name."""
    if settings.policy == "fixed":
        return Fixed(keep_alive_seconds=settings.keep_alive_max_seconds)
    return policies[settings.policy]()


class Engine:
    """Owns the state of one upstream; time comes inside the events.

    Args:
        settings: what the settings file says.
        usage: usage statistics, of an earlier run or empty.
    """

    def __init__(self, settings: EngineSettings, usage: UsageBook) -> None:
        self.state = State(settings, make_policy(settings), usage, Budget(), Settling.at_first(settings.settle_seconds))
        self._identities = Identities()
        self._idle = IdleWork()
        self._wake_at = math.inf
        self._handlers: dict[type[Event], Callable[..., None]] = {
            RequestArrived: self._request_arrived,
            RequestEnded: self._request_ended,
            LoadEnded: self._load_ended,
            UnloadEnded: self._unload_ended,
            TouchEnded: self._touch_ended,
            Settled: self._settled,
            ResidentsObserved: self._residents_observed,
            ResidentsUnknown: self._residents_unknown,
            MemoryObserved: self._memory_observed,
            Tick: self._ticked,
            SettingsChanged: self._settings_changed,
        }

    def handle(self, event: Event) -> list[Effect]:
        """Take note of what happened and return what is to be done."""
        state = self.state
        state.out = []
        self._handlers[type(event)](event)
        admission.admit(state, event.at)
        if isinstance(event, Tick):
            self._wake_at = math.inf
            self._idle.work(state, event.at)
        self._ask_to_be_woken(event)
        return state.out

    def adopt(self, usage: UsageBook) -> None:
        """Go on with these usage statistics in place of the present ones."""
        self.state.usage = usage

    def costs(self, facts: ModelFacts, options: RunnerOptions, at: float) -> worth.Costs:
        """Return what a load of the model with these options takes at this time, as far as it was learnt."""
        return worth.costs(self.state, self._identities.key(facts.model, facts.weights), options, at)

    def _request_arrived(self, event: RequestArrived) -> None:
        state, request, facts = self.state, event.request, event.facts
        state.last_activity_at = event.at
        if facts is None:
            unknown = f"residents are not known: {state.unknown_reason}"
            reason = "Ollama does not know this model, or could not be asked about it" if state.known else unknown
            serving.pass_unmanaged(state, event.request_id, request, reason, event.at)
            return
        model = self._identities.key(request.model, facts.weights)
        learnt = state.learnt(model)
        if learnt.facts is None or facts.model == model:
            learnt.facts = facts
        if request.is_unload:
            self._client_unloads(event, model)
            return
        learnt.asked_keep_alive = request.keep_alive
        turn.learn(state, learnt, event.at)
        verdicts.asked(state, model, learnt, event.at)
        state.usage.arrived(model, event.at, state.settings.client_weights.get(event.client, 1.0))
        since_eviction = event.at - learnt.evicted_at
        if since_eviction <= REGRET_SECONDS and model not in state.residents:
            learnt.evicted_at = -math.inf
            state.emit(Regretted(model, since_eviction))
        options = num_ctx.options_for(state, model, learnt, request, facts, event.at)
        learnt.wants = Running(request.model, options)
        held = Held(event.request_id, model, request, event.at, learnt.wants)
        if state.known:
            state.held[event.request_id] = held
        else:
            serving.pass_on(state, held, f"residents are not known: {state.unknown_reason}", event.at)

    def _client_unloads(self, event: RequestArrived, model: str) -> None:
        """An explicit unload is always obeyed: forwarded at once, then seen through."""
        state, reason = self.state, "unloaded by a client"
        state.learnt(model).wants = None
        serving.pass_unmanaged(state, event.request_id, event.request, reason, event.at)
        resident = state.residents.get(model)
        if resident is not None and resident.leaving is None:
            resident.leaving = Cause.CLIENT
            state.to_clear[model] = (Cause.CLIENT, reason)

    def _request_ended(self, event: RequestEnded) -> None:
        state = self.state
        state.last_activity_at = event.at
        if state.held.pop(event.request_id, None) is not None:
            return
        ended = state.in_flight.pop(event.request_id, None)
        if ended is None or ended.model is None:
            return
        if event.ending is Ending.ANSWERED:
            state.usage.served(ended.model, max(0.0, event.at - ended.forwarded_at))
        resident = state.residents.get(ended.model)
        if resident is None or event.ending is Ending.UPSTREAM_ERROR:
            state.emit(Observe())
        if resident is not None:
            resident.serving.pop(event.request_id, None)
            self._count_down(resident, ended, event)

    def _count_down(self, resident: Resident, ended: InFlight, event: RequestEnded) -> None:
        """Ollama's timer runs from the end of the last request in flight."""
        resident.last_used_at = self.state.learnt(resident.model).answered_at = event.at
        if resident.written is not None:
            resident.expires_at = event.at + resident.written
        reloaded = event.figures.reload_seconds > 0
        if event.ending is Ending.ANSWERED and (reloaded or resident.runs is None):
            resident.runs = Running(ended.request.model, ended.request.options)
        if reloaded:  # by Ollama: another context, another size
            self.state.emit(Observe())
        elif resident.idle and resident.leaving is None and self.state.settings.rule_for(resident.model).never_keep:
            resident.leaving = Cause.EXPIRY
            self.state.to_clear[resident.model] = (Cause.EXPIRY, "never_keep: unloaded after each use")
        elif resident.idle and resident.written == 0:
            resident.leaving = Cause.EXPIRY
            self.state.emit(Observe())

    def _load_ended(self, event: LoadEnded) -> None:
        operation.loaded(self.state, event.model, event.seconds, event.error, event.at)

    def _unload_ended(self, event: UnloadEnded) -> None:
        operation.unloaded(self.state, event.model, event.error, event.at)

    def _touch_ended(self, event: TouchEnded) -> None:
        state = self.state
        if event.model not in state.touching:
            return
        state.touching.remove(event.model)
        resident = state.residents.get(event.model)
        if event.error is not None:
            if resident is not None:
                resident.written = None
            state.emit(Observe())
        elif resident is not None and resident.idle and resident.written is not None:
            resident.expires_at = event.at + resident.written
        operation.touched(state, event.at)

    def _settled(self, event: Settled) -> None:
        operation.settled(self.state, event.at)

    def _residents_observed(self, event: ResidentsObserved) -> None:
        residency.observed(self.state, self._identities, event)

    def _residents_unknown(self, event: ResidentsUnknown) -> None:
        residency.unknown(self.state, event.reason, event.at)

    def _memory_observed(self, event: MemoryObserved) -> None:
        state = self.state
        calm = state.known and state.operation is None and event.at - state.last_unload_at > _DRIVER_LAG_SECONDS
        others = max(0, event.total_bytes - event.free_bytes - state.used_bytes()) if calm else state.budget.others
        state.budget = state.budget.with_driver(event.total_bytes, others, event.gpus)

    def _ticked(self, event: Tick) -> None:
        """Only time has passed: what follows every event sees to it."""

    def _settings_changed(self, event: SettingsChanged) -> None:
        state = self.state
        if event.settings.settle_seconds != state.settings.settle_seconds:
            state.settling = Settling.at_first(event.settings.settle_seconds)
        state.settings, state.policy = event.settings, make_policy(event.settings)
        state.changed(event.at)

    def _ask_to_be_woken(self, event: Event) -> None:
        state = self.state
        if event.at < self._wake_at <= event.at + IDLE_SECONDS and not state.held:
            return  # nothing can become due before that tick
        if isinstance(event, _ABOUT_REQUESTS) and not state.held:
            at = event.at + IDLE_SECONDS  # nothing can become due before; that tick reckons when the rest does
        else:
            at = self._idle.wake_at(state)
        if state.held and state.operation is None:
            oldest = next(iter(state.held.values()))
            patience = admission.patience_ends_at(state, oldest)
            at = min(at, state.turn_ends_at, patience if patience > event.at else math.inf)
        at = max(at, event.at)  # what was due while a load was under way is due now
        if at < math.inf and at != self._wake_at:
            self._wake_at = at
            state.emit(WakeAt(at))
