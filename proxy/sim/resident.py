"""A model in the simulated Ollama's memory, and a request on its way to one; state that changes nothing by itself."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.sim.models import ModelSpec, RunnerOptions

PENDING, WAITING, RUNNING, GONE = range(4)
"""States of a request: in the scheduler's queue, at the runner behind others, being answered, over."""


@dataclass(slots=True, eq=False)
class Request:
    """One request that Ollama has not answered yet; `keep_alive_seconds` None means that it carries none."""

    request_id: int
    spec: ModelSpec
    keep_alive_seconds: float | None
    options: RunnerOptions
    num_ctx: int
    state: int = PENDING


@dataclass(slots=True, eq=False)
class Resident:
    """One loaded model (a `runnerRef` of Ollama's `server/sched.go`)."""

    spec: ModelSpec
    uid: int
    options: RunnerOptions
    num_ctx: int
    parallel: int
    size_bytes: int
    vram_bytes: int
    free_at_load_bytes: int
    on_gpu: bool
    keep_alive_seconds: float
    refs: int = 0
    running: int = 0
    waiting: deque[Request] = field(default_factory=deque)
    expires_at: float | None = None
    deadline: float = inf
    """When its timer unloads it; `inf` while requests are counted on it."""
    alarm_at: float = inf
    """The earliest event that looks at `deadline`: one is enough, however often the deadline moves on."""
    drain: bool = False
    """Its expiry came while it was busy: it leaves as soon as it is idle, whatever its keep_alive then is."""

    @property
    def believed_free_bytes(self) -> int:
        """The memory that Ollama takes for free when it asks this runner: never refreshed after the load."""
        return max(0, self.free_at_load_bytes - self.vram_bytes)

    def serves(self, request: Request) -> bool:
        """Whether it may serve `request` as it is, or has to be loaded again with other options."""
        loaded, asked = self.options, request.options
        if loaded is asked:
            return True
        same_context = self.num_ctx == request.num_ctx or (loaded.num_ctx is None and asked.num_ctx is None)
        any_gpu = asked.num_gpu is None or asked.num_gpu < 0
        return same_context and (any_gpu or asked.num_gpu == loaded.num_gpu) and loaded.fixed() == asked.fixed()
