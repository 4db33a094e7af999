"""Ollama 0.32.15's scheduler (`server/sched.go`) in virtual time: who is granted, loaded and evicted, and when.

Pure: the caller brings time and random numbers and carries the outcomes out. Never sleeps, never reads a clock.
The two goroutines of the original are `loader` (cold requests) and `unloader` (ends, expiries, unloads).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from proxy.sim import runner
from proxy.sim.loader import Loader
from proxy.sim.models import AUTOMATIC, FOREVER_SECONDS
from proxy.sim.outcomes import Kind, Outcome, ResidentView
from proxy.sim.resident import GONE, PENDING, Request
from proxy.sim.unloader import Unloader
from proxy.sim.world import Event, World

if TYPE_CHECKING:
    import random
    from collections.abc import Set as AbstractSet

    from proxy.sim.models import ModelSpec, RunnerOptions, SchedulerOptions


class Scheduler:
    """One simulated Ollama with one GPU.

    Call `submit`, `end` and `unload` with a time that never goes back, `advance` to collect what came of it, and come
    back at `next_event_at()`.

    Args:
        options: Its settings.
        rng: The source of what Go leaves to chance (order of maps, choice between ready channels).
        failing_loads: Names of models whose loads fail at their end; the caller may change the set at any time.
    """

    __slots__ = ("_loader", "_unloader", "_world", "options")

    def __init__(
        self, options: SchedulerOptions, rng: random.Random, failing_loads: AbstractSet[str] = frozenset()
    ) -> None:
        self.options = options
        self._world = World(options, rng)
        self._unloader = Unloader(self._world)
        self._loader = Loader(self._world, self._unloader, failing_loads)

    def submit(
        self,
        now: float,
        request_id: int,
        spec: ModelSpec,
        keep_alive_seconds: float | None = None,
        options: RunnerOptions = AUTOMATIC,
    ) -> None:
        """A request comes in.

        Args:
            now: Virtual seconds.
            request_id: Not that of another request that has not ended.
            spec: The model it names.
            keep_alive_seconds: What it carries: None for nothing, negative for ever.
            options: Its runner options.
        """
        self._run_until(now)
        if keep_alive_seconds is not None and keep_alive_seconds < 0:
            keep_alive_seconds = FOREVER_SECONDS
        world = self._world
        request = Request(request_id, spec, keep_alive_seconds, options, self.options.context(options, spec))
        resident = world.loaded.get(spec.weights)
        if resident is not None and resident.serves(request):
            world.requests[request_id] = request
            runner.grant(world, resident, request)
        elif self._loader.enqueue(request):
            world.requests[request_id] = request
            self._loader.run()
        else:
            world.tell(Kind.REFUSED, spec.name, request_id)

    def end(self, now: float, request_id: int) -> None:
        """A request's answer is complete, or its client has left; nothing for one that was refused or has failed."""
        self._run_until(now)
        request = self._world.requests.pop(request_id, None)
        if request is None:
            return
        state, request.state = request.state, GONE
        if state == PENDING:
            self._loader.client_left(request)
        else:
            runner.leave(self._world, request, state)
            self._unloader.request_ended(request.spec.weights)
        self._loader.run()

    def unload(self, now: float, spec: ModelSpec) -> None:
        """`keep_alive: 0` without a prompt: the model leaves once it is idle; nothing if it is not loaded."""
        self._run_until(now)
        resident = self._world.loaded.get(spec.weights)
        if resident is not None:
            resident.expires_at = now
            self._unloader.expire_when_idle(resident)
            self._loader.run()

    def advance(self, now: float) -> list[Outcome]:
        """Lets everything happen that is due until `now`, and hands over all outcomes since the last call, in order."""
        self._run_until(now)
        outcomes, self._world.outcomes = self._world.outcomes, []
        return outcomes

    def next_event_at(self) -> float:
        """When something may happen by itself; `inf` if nothing will."""
        return self._world.next_at

    def residents(self, now: float) -> list[ResidentView]:
        """What `/api/ps` shows at `now`: the longest lease first, by whole seconds."""
        self._run_until(now)
        views = [
            ResidentView(
                resident.spec.name,
                resident.spec.weights,
                resident.size_bytes,
                resident.vram_bytes,
                now + resident.keep_alive_seconds if resident.expires_at is None else resident.expires_at,
                resident.num_ctx,
                resident.refs,
            )
            for resident in self._world.loaded
        ]
        return sorted(views, key=lambda view: -int(view.expires_at))

    def kept_seconds(self, spec: ModelSpec) -> float | None:
        """How long the model stays after its last request, as things are; None: it is not loaded."""
        resident = self._world.loaded.get(spec.weights)
        return None if resident is None else resident.keep_alive_seconds

    def resize(self, options: SchedulerOptions) -> None:
        """Goes on with other settings, as when the memory of the GPU turned out to be another; who is loaded stays."""
        self.options = self._world.options = options
        self._world.driver.total_bytes = options.gpu_bytes

    def driver_free_bytes(self, now: float) -> int:
        """Free GPU memory at `now` as the driver tells it."""
        self._run_until(now)
        return self._world.driver.free_bytes(now)

    def clone(self) -> Scheduler:
        """A copy of this moment, for asking what may happen next; it draws on the same random numbers."""
        return copy.deepcopy(self, {id(self._world.rng): self._world.rng})

    def _run_until(self, now: float) -> None:
        world = self._world
        while world.next_at <= now:
            event, subject = world.next_event()
            if event is Event.ALARM:
                self._unloader.ring(subject)
            elif event is Event.RECOVERED:
                self._unloader.recovered()
            elif event is Event.POLL:
                self._unloader.poll_driver()
            else:
                self._loader.load_ended(subject)
                self._unloader.run()
            self._loader.run()
        world.now = max(world.now, now)
