"""Compares what people waited with what they would have waited for Ollama alone, while keepwarm serves them.

It is told of requests when they are over and takes them up many at a time, in the order in which they came; so what it
shows is as late as the oldest request that is not over. Never decides anything, and never raises: a failure ends it.
"""

from __future__ import annotations

import logging
import random
from bisect import bisect_right
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from proxy.domain.events import RequestArrived, ResidentsObserved
from proxy.sim.models import AUTOMATIC, FOREVER_SECONDS, ModelSpec
from proxy.sim.scheduler import Scheduler
from proxy.sim.shadow.alone import Ask, OllamaAlone
from proxy.sim.shadow.asked import Kind, is_comparable, machine, waiting_is_known
from proxy.sim.shadow.savings import Savings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from proxy.domain.events import Happening
    from proxy.domain.model import ModelFacts, ObservedResident
    from proxy.domain.snapshot import SavedSnapshot
    from proxy.domain.timeline import FinishedRequest
    from proxy.engine.engine import Engine

MAX_HELD: Final = 4096
"""Requests that may wait for an older one to be over; of more, that one is left out and half of them are taken up."""

_KEY: Final = "saved"
_AT_ONCE: Final = 64
_MAX_KINDS: Final = 1000

_log = logging.getLogger(__name__)
_came_at = attrgetter("at")


class Shadow:
    """Ollama's default, beside the live proxy.

    Args:
        engine: knows the machine, and what models take; it is only asked.
        all_over_until: the time before which every request that came is over; infinity: none is left.
        seed: of what Ollama leaves to chance.
    """

    def __init__(self, engine: Engine, all_over_until: Callable[[], float], seed: int = 0) -> None:
        self._engine = engine
        self._all_over_until = all_over_until
        self._seed = seed
        self._savings = Savings()
        self._alone: OllamaAlone | None = None
        self._finished: list[FinishedRequest] = []
        self._enough = _AT_ONCE
        self._reached = -inf
        self._kinds: dict[str, Kind] = {}
        self._loaded_before: tuple[ObservedResident, ...] | None = None
        self._has_begun = False
        self.switch(on=True)

    def switch(self, *, on: bool) -> None:
        """Begin, with nothing loaded, or end; what was counted stays."""
        if on == (self._alone is not None):
            return
        self._finished, self._enough, self._reached, self._kinds = [], _AT_ONCE, -inf, {}
        self._loaded_before, self._has_begun = None, False
        dice = random.Random(self._seed)  # noqa: S311 - a simulation
        self._alone = OllamaAlone(Scheduler(machine(self._engine.state), dice), self._settled) if on else None

    def observe(self, event: Happening, finished: Sequence[FinishedRequest]) -> None:
        """Take note of the requests that are over with this event, and of what is loaded before the first."""
        if self._alone is None:
            return
        if finished:
            self._finished.extend(finished)
            if len(self._finished) >= self._enough:
                self._catch_up_safely(event.at)
        elif isinstance(event, RequestArrived):
            self._has_begun = True
        elif isinstance(event, ResidentsObserved) and (self._loaded_before is None or not self._has_begun):
            self._loaded_before = event.residents

    def snapshot(self, at: float) -> SavedSnapshot | None:
        """Return what was waited until this time, unix seconds, as far as it is known; None: it is switched off."""
        self._catch_up_safely(at)
        return None if self._alone is None else self._savings.snapshot(at)

    def to_state(self, at: float) -> dict[str, Any]:
        """Return what is to be remembered of the time until now over a restart, for JSON: one key, `saved`."""
        self._catch_up_safely(at)
        return {_KEY: self._savings.to_state()}

    def restore(self, state: dict[str, Any] | None) -> None:
        """Add what an earlier process remembered; it is left out, and that is said, where it is unusable."""
        try:
            self._savings.restore((state or {}).get(_KEY))
        except ValueError as error:
            _log.warning("the saved comparison with Ollama's default is not usable, it begins anew: %s", error)

    def _catch_up_safely(self, at: float) -> None:
        if self._alone is None:
            return
        try:
            self._catch_up(self._alone, at)
        except Exception:  # noqa: BLE001 - no request may suffer from what is only shown, whatever is wrong with it
            _log.exception("the comparison with Ollama's default is switched off, nothing else: a bug in keepwarm")
            self.switch(on=False)

    def _catch_up(self, alone: OllamaAlone, at: float) -> None:
        """Take up the requests that no older one can precede any more."""
        self._savings.begin(at)
        alone.scheduler.resize(machine(self._engine.state))
        finished, until = self._finished, min(at, self._all_over_until())
        finished.sort(key=_came_at)
        count = bisect_right(finished, until, key=_came_at)
        if len(finished) - count > MAX_HELD:
            count = len(finished) - MAX_HELD // 2
        for request in finished[:count]:
            if request.facts is not None and request.at >= self._reached and is_comparable(request):
                self._reached = request.at
                self._take_up(alone, request, request.facts)
        del finished[:count]
        self._enough = 2 * len(finished) + _AT_ONCE
        if alone.waiting and until > self._reached:
            self._reached = until
            alone.advance(until)

    def _take_up(self, alone: OllamaAlone, request: FinishedRequest, facts: ModelFacts) -> None:
        at, keep_alive = request.at, request.keep_alive
        waited_seconds = request.wait_seconds + request.figures.reload_seconds
        service_seconds = max(0.0, request.e2e_seconds - waited_seconds)
        if keep_alive is not None and keep_alive < 0:
            keep_alive = FOREVER_SECONDS
        kind = self._kinds.get(request.model)
        if kind is None or request.is_unload or not kind.is_of(request, facts):
            prolongs = False
        else:
            prolongs = alone.prolongs(kind.spec, keep_alive, at, at + service_seconds)
        if not prolongs:
            self._ask(alone, request, facts, keep_alive, waited_seconds)
        elif waited_seconds and waiting_is_known(request):
            self._savings.add(at, waited_seconds, 0.0)

    def _ask(
        self,
        alone: OllamaAlone,
        request: FinishedRequest,
        facts: ModelFacts,
        keep_alive: float | None,
        waited_seconds: float,
    ) -> None:
        if not self._kinds:
            self._take_over(alone, request.at)
        kind, over_at = self._kind(alone, request, facts), request.at + request.e2e_seconds
        if request.is_unload:
            alone.unload(request.at, kind.spec)
            return
        alone.ask(
            Ask(
                at=request.at,
                spec=kind.spec,
                keep_alive_seconds=keep_alive,
                options=kind.options,
                service_seconds=max(0.0, request.e2e_seconds - waited_seconds),
                over_at=over_at,
                leaves_at=over_at if request.forward is None else inf,
                waited_seconds=waited_seconds if waiting_is_known(request) else None,
                client=request.client,
            )
        )

    def _take_over(self, alone: OllamaAlone, at: float) -> None:
        """What was loaded before the first request is so for Ollama alone too."""
        for resident in self._loaded_before or ():
            spec = ModelSpec(resident.model, resident.weights or resident.model, max(1, resident.vram_bytes), 0.0)
            alone.ask(Ask(at, spec, None, AUTOMATIC, 0.0, at))
            alone.advance(at)

    def _kind(self, alone: OllamaAlone, request: FinishedRequest, facts: ModelFacts) -> Kind:
        """Return what the request asks for; a model that has to be loaded takes what was learnt by now."""
        kind = self._kinds.get(request.model)
        if kind is None or not kind.is_of(request, facts) or alone.scheduler.kept_seconds(kind.spec) is None:
            if len(self._kinds) >= _MAX_KINDS:
                del self._kinds[next(iter(self._kinds))]
            costs = self._engine.costs(facts, request.options, request.at)
            kind = self._kinds[request.model] = Kind.of(request, facts, costs)
        return kind

    def _settled(self, ask: Ask, alone_seconds: float) -> None:
        if ask.waited_seconds is not None:
            self._savings.add(ask.at, ask.waited_seconds, alone_seconds)
