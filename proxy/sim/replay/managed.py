"""Clients that talk to keepwarm: the real engine decides, and what it decides is done to the simulated Ollama.

The counterpart of `proxy.server.dispatcher` in virtual time: it decides nothing itself. What takes milliseconds live
(a call to Ollama, `/api/ps`) takes no time here.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from proxy.domain import effects as fx
from proxy.domain.events import (
    AnswerFigures,
    Ending,
    Event,
    LoadEnded,
    MemoryObserved,
    RequestArrived,
    RequestEnded,
    ResidentsObserved,
    Settled,
    Tick,
    TouchEnded,
    UnloadEnded,
)
from proxy.domain.model import Endpoint, ModelFacts, ModelRequest, ObservedResident
from proxy.engine.engine import Engine
from proxy.policy import UsageBook
from proxy.sim.outcomes import Kind, Outcome
from proxy.upstream.patience import (
    LOAD_SECONDS,
    SETTLE_LIMIT_SECONDS,
    SETTLE_POLL_SECONDS,
    UNLOAD_SECONDS,
    unload_pauses,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from proxy.sim.models import ModelSpec
    from proxy.sim.replay.agenda import Agenda
    from proxy.sim.replay.contender import Managed
    from proxy.sim.replay.result import Ledger
    from proxy.sim.scheduler import Scheduler

_Call = fx.Load | fx.Touch
_NOTHING_TOLD = AnswerFigures()


class ManagedFront:
    """One engine and its hands.

    Args:
        scheduler: the simulated Ollama.
        agenda: where what is to be done later is planned.
        specs: the models, as the scheduler knows them.
        contender: the settings.
        ledger: what is told of unloads.
        driver_bytes: the GPU's memory, where keepwarm can read it; else None.
        first_call: from this id on, requests to the scheduler are keepwarm's own.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        agenda: Agenda,
        specs: Sequence[ModelSpec],
        contender: Managed,
        ledger: Ledger,
        driver_bytes: int | None,
        first_call: int,
    ) -> None:
        self._scheduler = scheduler
        self._agenda = agenda
        self._ledger = ledger
        self._driver_bytes = driver_bytes
        self._engine = Engine(contender.settings, UsageBook())
        if contender.policy is not None:
            self._engine.state.policy = contender.policy
        self._watch = contender.watch
        self._specs = {spec.name: spec for spec in specs}
        self._asks = tuple(
            (ModelRequest(spec.name, Endpoint.CHAT), ModelFacts(spec.name, spec.weights, spec.file_bytes), spec)
            for spec in specs
        )
        self._asked: dict[int, ModelSpec] = {}
        self._forwarded_at: dict[int, float] = {}
        self._load_seconds: dict[int, float] = {}
        self._calls: dict[int, tuple[_Call, float]] = {}
        self._ids = count(first_call)
        self._wakes = 0
        self._poll_seconds = contender.settings.poll_seconds
        self._poll_planned = False
        agenda.at(0.0, self._observe, None)

    def arrived(self, at: float, request: int, model: int) -> None:
        """A client asks."""
        said, facts, self._asked[request] = self._asks[model]
        if self._watch is not None:
            self._watch(said.model, at)
        self._post(RequestArrived(at, request, said, facts))

    def granted(self, at: float, request: int) -> None:
        """Ollama has the model for a client's request: this is what it tells as the request's load_duration."""
        seconds = at - self._forwarded_at.pop(request)
        if seconds > 0:
            self._load_seconds[request] = seconds

    def ended(self, at: float, request: int, ending: Ending) -> None:
        """A client has its answer, or has left."""
        self._asked.pop(request, None)
        self._forwarded_at.pop(request, None)
        self._scheduler.end(at, request)
        seconds = self._load_seconds.pop(request, None)
        figures = _NOTHING_TOLD if seconds is None else AnswerFigures(load_seconds=seconds)
        self._post(RequestEnded(at, request, ending, 0, figures))
        self.stirred(at)

    def called(self, outcome: Outcome) -> None:
        """A load or touch of keepwarm's own got what it wanted, or failed."""
        call = self._calls.pop(outcome.request_id, None)
        if call is not None:
            self._scheduler.end(outcome.at, outcome.request_id)
            error = None if outcome.kind is Kind.GRANTED else f"{outcome.kind.name.lower()} by the simulated Ollama"
            self._report(outcome.at, *call, error)

    def stirred(self, at: float) -> None:
        """Something happened: the next regular look at `/api/ps` may show something new. Of others nothing is lost."""
        if not self._poll_planned:
            self._poll_planned = True
            self._agenda.at((at // self._poll_seconds + 1) * self._poll_seconds, self._poll, None)

    def _post(self, event: Event) -> None:
        effects = self._engine.handle(event)
        for effect in effects:
            self._carry_out(event.at, effect)
        if effects:
            self.stirred(event.at)

    def _carry_out(self, at: float, effect: fx.Effect) -> None:
        """Nothing done here posts an event: what comes of it is on the agenda, or told by the scheduler later."""
        match effect:
            case fx.Forward():
                keep_alive = effect.keep_alive if isinstance(effect.keep_alive, int) else None
                self._forwarded_at[effect.request_id] = at
                self._scheduler.submit(at, effect.request_id, self._asked.pop(effect.request_id), keep_alive)
            case fx.WakeAt():
                self._wakes += 1
                self._agenda.at(effect.at, self._tick, self._wakes)
            case fx.Load() | fx.Touch():
                self._call(at, effect)
            case fx.Unload():
                self._ledger.unloading(effect.model, effect.cause)
                self._scheduler.unload(at, self._specs[effect.name])
                self._agenda.at(at, self._look, (effect, at, unload_pauses()))
            case fx.Settle():
                self._settle(at, effect)
            case fx.Observe():
                self._agenda.at(at, self._observe, None)
            case fx.ManagementFailed():
                self._ledger.management_failed()
            case _:
                pass  # what the engine noticed is for observers

    def _tick(self, at: float, wake: int) -> None:
        if wake == self._wakes:  # a later WakeAt replaces an earlier one
            self._post(Tick(at))

    def _call(self, at: float, call: _Call) -> None:
        number = next(self._ids)
        self._calls[number] = (call, at)
        self._scheduler.submit(at, number, self._specs[call.name], call.keep_alive)
        self._agenda.at(at + LOAD_SECONDS, self._lose_patience, number)

    def _lose_patience(self, at: float, number: int) -> None:
        call = self._calls.pop(number, None)
        if call is not None:
            self._scheduler.end(at, number)
            self._report(at, *call, "no answer in time")

    def _report(self, at: float, call: _Call, began: float, error: str | None) -> None:
        if isinstance(call, fx.Touch):
            self._post(TouchEnded(at, call.model, error))
        else:
            self._post(LoadEnded(at, call.model, at - began, error))
            self._observe(at, None)

    def _look(self, at: float, unload: tuple[fx.Unload, float, Iterator[float]]) -> None:
        """Look whether a model has left `/api/ps`, again and again until patience ends."""
        effect, began, pauses = unload
        if not any(view.name == effect.name for view in self._scheduler.residents(at)):
            self._post(UnloadEnded(at, effect.model, at - began))
        elif at > began + UNLOAD_SECONDS:
            self._post(UnloadEnded(at, effect.model, at - began, "still in /api/ps"))
        else:
            self._agenda.at(at + next(pauses), self._look, unload)

    def _settle(self, at: float, effect: fx.Settle) -> None:
        if self._driver_bytes is None:
            self._agenda.at(at + effect.seconds, self._settled, None)
        else:
            first = at + min(effect.seconds, SETTLE_POLL_SECONDS)
            self._agenda.at(first, self._ask_driver, (effect, first + SETTLE_LIMIT_SECONDS))

    def _ask_driver(self, at: float, settling: tuple[fx.Settle, float]) -> None:
        effect, deadline = settling
        if at >= deadline or self._scheduler.driver_free_bytes(at) >= effect.free_bytes:
            self._post(Settled(at))
        else:
            self._agenda.at(at + SETTLE_POLL_SECONDS, self._ask_driver, settling)

    def _settled(self, at: float, _: None) -> None:
        self._post(Settled(at))

    def _poll(self, at: float, _: None) -> None:
        self._poll_planned = False
        self._observe(at, None)

    def _observe(self, at: float, _: None) -> None:
        """Look at `/api/ps`, and ask the driver."""
        views = self._scheduler.residents(at)
        residents = [
            ObservedResident(name, size_bytes, vram_bytes, context_length, expires_at, weights)
            for name, weights, size_bytes, vram_bytes, expires_at, context_length, _ in views
        ]
        self._post(ResidentsObserved(at, at, tuple(residents)))
        if self._driver_bytes is not None:
            free = self._scheduler.driver_free_bytes(at)
            self._post(MemoryObserved(at, self._driver_bytes, free, 1, "simulated"))
        if any(view.requests for view in views):  # what is in use shows another time at each look
            self.stirred(at)
