"""Carries out what the engine decides, and reports back; the only caller of the engine. Decides nothing itself."""

from __future__ import annotations

import asyncio
import itertools
import sys
from typing import TYPE_CHECKING

from proxy.domain import effects as fx
from proxy.domain.access import KEYLESS
from proxy.domain.events import (
    Event,
    Happening,
    LoadEnded,
    MemoryObserved,
    PassthroughEnded,
    RequestArrived,
    ResidentsObserved,
    ResidentsUnknown,
    Settled,
    Tick,
    TouchEnded,
    UnloadEnded,
)
from proxy.server.waiting import Waiting
from proxy.upstream.api import UpstreamError
from proxy.upstream.patience import SETTLE_LIMIT_SECONDS, SETTLE_POLL_SECONDS, UNLOAD_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from proxy.domain.model import ModelFacts, ModelRequest
    from proxy.engine.engine import Engine
    from proxy.upstream.api import OllamaApi
    from proxy.upstream.catalogue import Catalogue
    from proxy.upstream.gpu import GpuProbe


class Dispatcher:
    """Drives one engine against one upstream; `speed` is how many of the clock's seconds pass in one of ours.

    Attributes:
        now: the time that events are stamped with.
    """

    def __init__(
        self,
        engine: Engine,
        api: OllamaApi,
        catalogue: Catalogue,
        clock: Callable[[], float],
        probe: GpuProbe | None,
        observers: Sequence[Callable[[Happening, Sequence[fx.Effect]], None]] = (),
        waiting: Waiting | None = None,
        speed: float = 1.0,
    ) -> None:
        self._engine = engine
        self._api = api
        self._catalogue = catalogue
        self.now = clock
        self._probe = probe
        self._observers = observers
        self._waiting = waiting or Waiting(lambda: sys.maxsize)
        self._speed = speed
        self._ids = itertools.count(1)
        self._held: dict[int, asyncio.Future[fx.Forward]] = {}
        self._admitted_at_once: dict[int, fx.Forward] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake: asyncio.TimerHandle | None = None
        self._observing = asyncio.Lock()

    @property
    def manages(self) -> bool:
        """Whether residents are known: where they are not, requests pass as they come."""
        return self._engine.state.known

    def post(self, event: Event) -> None:
        """Let the engine handle the event and carry out what it decides."""
        effects = self._engine.handle(event)
        for observe in self._observers:
            observe(event, effects)
        for effect in effects:
            self._carry_out(effect)

    def note(self, event: PassthroughEnded) -> None:
        """Tell the observers of something that nothing is decided by."""
        for observe in self._observers:
            observe(event, ())

    def next_id(self) -> int:
        """Return a number for a request, used once."""
        return next(self._ids)

    async def admit(
        self, request_id: int, request: ModelRequest, facts: ModelFacts | None, client: str = KEYLESS
    ) -> fx.Forward:
        """Hold a request until the engine says that it may go on, and how.

        Raises:
            RefusedError: too many requests of this client are held already.
        """
        self._waiting.check(client)
        self.post(RequestArrived(self.now(), request_id, request, facts, client))
        at_once = self._admitted_at_once.pop(request_id, None)
        if at_once is not None:  # nearly always: a model that is warm is worth no Future
            return at_once
        held: asyncio.Future[fx.Forward] = asyncio.get_running_loop().create_future()
        self._held[request_id] = held
        try:
            with self._waiting.place(client):
                return await held
        finally:
            del self._held[request_id]

    async def poll(self, seconds: Callable[[], float]) -> None:
        """Observe residents and memory for ever, every `seconds()`."""
        while True:
            await self.observe()
            await asyncio.sleep(seconds() / self._speed)

    async def observe(self) -> None:
        """Ask `/api/ps` and the GPU's driver, and tell the engine."""
        async with self._observing:
            asked_at = self.now()
            memory = await asyncio.to_thread(self._probe.read) if self._probe else None
            try:
                residents = await self._catalogue.with_weights(await self._api.residents())
            except UpstreamError as error:
                self.post(ResidentsUnknown(self.now(), str(error)))
            else:
                self.post(ResidentsObserved(self.now(), asked_at, residents))
            if memory is not None:  # after the residents: what they use is no one else's
                self.post(MemoryObserved(self.now(), memory.total_bytes, memory.free_bytes, memory.gpus, memory.source))

    async def close(self) -> None:
        """Cancel and await everything that was begun."""
        if self._wake is not None:
            self._wake.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _carry_out(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Forward():
                held = self._held.get(effect.request_id)
                if held is None:
                    self._admitted_at_once[effect.request_id] = effect
                elif not held.done():
                    held.set_result(effect)
            case fx.Load():
                self._start(self._load(effect))
            case fx.Unload():
                self._start(self._unload(effect))
            case fx.Touch():
                self._start(self._touch(effect))
            case fx.Settle():
                self._start(self._settle(effect))
            case fx.Observe():
                self._start(self.observe())
            case fx.WakeAt():
                self._wake_at(effect.at)
            case _:
                pass  # what the engine noticed is for the observers

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _wake_at(self, at: float) -> None:
        if self._wake is not None:
            self._wake.cancel()
        delay = max(0.0, at - self.now()) / self._speed
        self._wake = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self._wake = None
        self.post(Tick(self.now()))

    async def _load(self, effect: fx.Load) -> None:
        began = self.now()
        error = None
        try:
            await self._api.load(effect.name, effect.options, effect.keep_alive, embedding_only=effect.embedding_only)
        except UpstreamError as failure:
            error = str(failure)
        self.post(LoadEnded(self.now(), effect.model, self.now() - began, error))
        await self.observe()

    async def _unload(self, effect: fx.Unload) -> None:
        began = self.now()
        error = None
        try:
            await self._api.unload(effect.name, UNLOAD_SECONDS)
        except UpstreamError as failure:
            error = str(failure)
        self.post(UnloadEnded(self.now(), effect.model, self.now() - began, error))

    async def _touch(self, effect: fx.Touch) -> None:
        error = None
        try:
            await self._api.load(effect.name, effect.options, effect.keep_alive, embedding_only=effect.embedding_only)
        except UpstreamError as failure:
            error = str(failure)
        self.post(TouchEnded(self.now(), effect.model, error))

    async def _settle(self, effect: fx.Settle) -> None:
        if self._probe is None:
            await asyncio.sleep(effect.seconds / self._speed)
        else:
            await asyncio.sleep(min(effect.seconds, SETTLE_POLL_SECONDS))
            deadline = self.now() + SETTLE_LIMIT_SECONDS
            while self.now() < deadline:
                memory = await asyncio.to_thread(self._probe.read)
                if memory is None or memory.free_bytes >= effect.free_bytes:
                    break
                await asyncio.sleep(SETTLE_POLL_SECONDS)
        self.post(Settled(self.now()))
