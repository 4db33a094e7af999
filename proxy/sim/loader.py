"""The pending loop of Ollama's scheduler: one cold request at a time, in order of arrival; never unloads by itself."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from proxy.sim import runner
from proxy.sim.outcomes import Kind
from proxy.sim.resident import GONE, Request, Resident
from proxy.sim.world import Event

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from proxy.sim.unloader import Unloader
    from proxy.sim.world import World


class Loader:
    """The one who lets in, loads, and has others evicted."""

    __slots__ = ("_evicting", "_failing_loads", "_head", "_loading", "_queue", "_unloader", "_world")

    def __init__(self, world: World, unloader: Unloader, failing_loads: AbstractSet[str]) -> None:
        self._failing_loads = failing_loads
        self._world = world
        self._unloader = unloader
        self._queue: deque[Request] = deque()
        self._head: Request | None = None
        self._loading: Resident | None = None
        self._evicting = False

    def enqueue(self, request: Request) -> bool:
        """A cold request comes in; False if the queue is full."""
        if len(self._queue) >= self._world.options.max_queue:
            return False
        self._queue.append(request)
        return True

    def client_left(self, request: Request) -> None:
        """The client of a request that is not granted has gone: a load that is under way for it is given up."""
        loading = self._loading
        if request is self._head and loading is not None:
            self._head = self._loading = None
            self._world.driver.release(self._world.now, loading.vram_bytes)
            self._world.tell(Kind.LOAD_ABORTED, loading.spec.name)

    def load_ended(self, uid: str) -> None:
        """The time that the load `uid` takes has passed."""
        world, resident, request = self._world, self._loading, self._head
        if resident is None or request is None or resident.uid != int(uid):
            return  # given up long ago
        self._loading = self._head = None
        if resident.spec.name in self._failing_loads:
            world.driver.release(world.now, resident.vram_bytes)
            del world.requests[request.request_id]
            world.tell(Kind.FAILED, resident.spec.name, request.request_id)
        else:
            world.loaded.add(resident)
            world.tell(Kind.LOADED, resident.spec.name, request.request_id)
            if resident.vram_bytes < resident.size_bytes:
                world.tell(Kind.SPILLED, resident.spec.name)
            runner.grant(world, resident, request)

    def run(self) -> None:
        """Serves cold requests until one has to wait for a load or an unload."""
        while self._loading is None:
            if self._evicting:
                if not self._unloader.signals:
                    return
                self._unloader.signals -= 1
                self._evicting = False
            if self._head is None:
                self._drop_signals()
                if not self._queue:
                    return
                self._head = self._queue.popleft()
                if self._head.state == GONE:
                    self._head = None
                    continue
            self._place(self._head)

    def _drop_signals(self) -> None:
        """Nobody waits for an unload: its signal is dropped; with a request waiting too, Go picks either."""
        while self._unloader.signals and (not self._queue or self._world.rng.random() < 1 / 2):
            self._unloader.signals -= 1

    def _place(self, request: Request) -> None:
        loaded = self._world.loaded
        resident = loaded.get(request.spec.weights)
        if resident is not None and resident.serves(request):
            self._head = None
            runner.grant(self._world, resident, request)
            if request.state == GONE:
                self._unloader.request_ended(request.spec.weights)
        elif resident is not None:
            self._evict(resident)
        elif len(loaded) < self._world.options.max_loaded_models and self._lets_in(request):
            self._start_load(request)
        elif (victim := loaded.first_to_leave()) is not None:
            self._evict(victim)

    def _evict(self, victim: Resident) -> None:
        self._world.tell(Kind.EVICTION, victim.spec.name)
        self._evicting = True
        self._unloader.expire_when_idle(victim)

    def _lets_in(self, request: Request) -> bool:
        world = self._world
        if not len(world.loaded) or _skips_check(request):
            return True
        free = world.loaded.believed_free_bytes(world.options.gpu_bytes, world.driver.free_bytes(world.now), world.rng)
        predicted = request.spec.predicted_bytes(request.num_ctx * world.options.parallel(request.spec))
        return predicted <= free * 80 // 100

    def _start_load(self, request: Request) -> None:
        if request.state == GONE:
            self._head = None
            return
        world, spec, keep_alive = self._world, request.spec, request.keep_alive_seconds
        free = world.driver.free_bytes(world.now)
        parallel = world.options.parallel(spec)
        size = spec.needed_bytes(request.num_ctx * parallel)
        self._loading = Resident(
            spec=spec,
            uid=world.number(),
            options=request.options,
            num_ctx=request.num_ctx,
            parallel=parallel,
            size_bytes=size,
            vram_bytes=min(free, _on_gpu(size, request)),
            free_at_load_bytes=free,
            on_gpu=request.options.num_gpu != 0,
            keep_alive_seconds=world.options.default_keep_alive_seconds if keep_alive is None else keep_alive,
        )
        world.driver.take(self._loading.vram_bytes)
        world.tell(Kind.LOAD_STARTED, spec.name, request.request_id)
        world.after(spec.load_seconds, Event.LOAD_ENDS, str(self._loading.uid))


def _skips_check(request: Request) -> bool:
    """Whether `num_gpu` says how many layers go to the GPU, and not all of them, or none."""
    return request.options.num_gpu is not None and 0 <= request.options.num_gpu <= request.spec.blocks


def _on_gpu(size: int, request: Request) -> int:
    """The part of `size` that goes to the GPU where there is room for it."""
    layers = request.spec.blocks + 1
    asked = request.options.num_gpu
    return size if asked is None or asked < 0 else size * min(asked, layers) // layers
