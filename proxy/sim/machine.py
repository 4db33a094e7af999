"""Runs the scheduler of `proxy.sim.scheduler` on a live clock: requests wait for their turn; knows nothing of HTTP."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from proxy.sim.outcomes import Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from proxy.sim.clock import Clock
    from proxy.sim.models import ModelSpec, RunnerOptions
    from proxy.sim.outcomes import Outcome, ResidentView
    from proxy.sim.scheduler import Scheduler


class QueueFullError(Exception):
    """As many cold requests wait as may."""


class LoadFailedError(Exception):
    """The model could not be loaded."""


@dataclass(slots=True)
class Tally:
    """What has happened so far, by model."""

    loads: Counter[str] = field(default_factory=Counter)
    evictions: Counter[str] = field(default_factory=Counter)
    """Models that Ollama chose to make room, or to load again with other options."""
    unloads: Counter[str] = field(default_factory=Counter)
    aborted_loads: Counter[str] = field(default_factory=Counter)
    spilled: Counter[str] = field(default_factory=Counter)
    """Loads that did not get all their memory on the GPU."""


class Turn:
    """A request's way to its runner: first the model has to be there, then the runner has to begin with it."""

    __slots__ = ("_granted", "_started")

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._granted: asyncio.Future[float] = loop.create_future()
        self._started: asyncio.Future[float] = loop.create_future()

    async def granted(self) -> float:
        """Waits for the model; gives the virtual time at which it was there."""
        return await self._granted

    async def started(self) -> float:
        """Waits for the runner, which may be busy with others; gives the virtual time at which it began."""
        return await self._started

    def note(self, outcome: Outcome) -> None:
        """Takes note of an outcome for this request."""
        if self._granted.cancelled() or self._started.cancelled():
            return  # its client has just left
        if outcome.kind is Kind.GRANTED:
            self._granted.set_result(outcome.at)
        elif outcome.kind is Kind.STARTED:
            self._started.set_result(outcome.at)
        elif outcome.kind is Kind.REFUSED:
            self._granted.set_exception(QueueFullError())
        elif outcome.kind is Kind.FAILED:
            self._granted.set_exception(LoadFailedError(outcome.model))


class Machine:
    """One simulated GPU machine in real time.

    Args:
        scheduler: Its scheduler; nobody else may drive it.
        clock: Its time.
        tally: Where it counts.
    """

    def __init__(self, scheduler: Scheduler, clock: Clock, tally: Tally) -> None:
        self.clock = clock
        self._tally = tally
        self._scheduler = scheduler
        self._ids = itertools.count()
        self._turns: dict[int, Turn] = {}
        self._alarm: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def turn(
        self, spec: ModelSpec, keep_alive_seconds: float | None, options: RunnerOptions
    ) -> AsyncIterator[tuple[Turn, float]]:
        """Waits until the model is there for this request; gives its turn, and the virtual time when it was.

        Leaving the block, or being cancelled while waiting, ends the request.

        Raises:
            QueueFullError: Too many wait.
            LoadFailedError: The model could not be loaded.
        """
        request_id, turn = next(self._ids), Turn()
        self._turns[request_id] = turn
        try:
            self._scheduler.submit(self.clock.now(), request_id, spec, keep_alive_seconds, options)
            self._advance()
            yield turn, await turn.granted()
        finally:
            del self._turns[request_id]
            self._scheduler.end(self.clock.now(), request_id)
            self._advance()

    def unload(self, spec: ModelSpec) -> None:
        """Lets a model go as soon as it is idle."""
        self._scheduler.unload(self.clock.now(), spec)
        self._advance()

    def residents(self) -> list[tuple[ResidentView, float]]:
        """The loaded models, each with the seconds until it expires."""
        now = self.clock.now()
        residents = [(view, view.expires_at - now) for view in self._scheduler.residents(now)]
        self._advance()
        return residents

    def free_bytes(self) -> int:
        """Free GPU memory as the driver tells it."""
        return self._scheduler.driver_free_bytes(self.clock.now())

    def close(self) -> None:
        """Stops the clock's alarm."""
        if self._alarm is not None:
            self._alarm.cancel()

    def _advance(self) -> None:
        for outcome in self._scheduler.advance(self.clock.now()):
            self._note(outcome)
        if self._alarm is not None:
            self._alarm.cancel()
        at = self._scheduler.next_event_at()
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_at(self.clock.loop_time(at), self._advance) if at < float("inf") else None

    def _note(self, outcome: Outcome) -> None:
        turn = self._turns.get(outcome.request_id)
        if turn is not None:
            turn.note(outcome)
        counters = {
            Kind.LOADED: self._tally.loads,
            Kind.SPILLED: self._tally.spilled,
            Kind.EVICTION: self._tally.evictions,
            Kind.UNLOADED: self._tally.unloads,
            Kind.LOAD_ABORTED: self._tally.aborted_loads,
        }
        if outcome.kind in counters:
            counters[outcome.kind][outcome.model] += 1
