"""What the simulated scheduler tells: outcomes of requests, the coming and going of models; values only."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Kind(IntEnum):
    """What happened; each has a model, the first four a request too."""

    GRANTED = 1
    """The model is there for this request: its `load_duration` ends."""
    STARTED = 2
    """The runner begins to answer it; at once, unless OLLAMA_NUM_PARALLEL others are being answered."""
    REFUSED = 3
    """The queue is full: 503."""
    FAILED = 4
    """The load it waited for failed: 500."""
    LOAD_STARTED = 5
    LOADED = 6
    LOAD_ABORTED = 7
    """The client that the load was for has left."""
    UNLOADED = 8
    """The model has left the list of loaded models."""
    EVICTION = 9
    """Ollama chose this model to make room, or to load it again with other options."""
    SPILLED = 10
    """Comes with LOADED: not all of it is on the GPU."""


class Outcome(NamedTuple):
    """One thing that happened at `at` (virtual seconds); `request_id` is -1 where no request is concerned."""

    kind: Kind
    at: float
    request_id: int
    model: str


class ResidentView(NamedTuple):
    """One line of `/api/ps`."""

    name: str
    weights: str
    size_bytes: int
    vram_bytes: int
    expires_at: float
    context_length: int
    requests: int
    """Requests that Ollama counts on it: their ends are not counted while it waits after an unload."""
