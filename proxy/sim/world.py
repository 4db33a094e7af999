"""What the parts of the simulated scheduler share: time, memory, chance, and the list of outcomes; decides nothing."""

from __future__ import annotations

from enum import IntEnum
from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING

from proxy.sim.memory import Driver, LoadedModels
from proxy.sim.outcomes import Kind, Outcome

if TYPE_CHECKING:
    import random

    from proxy.sim.models import SchedulerOptions
    from proxy.sim.resident import Request


class Event(IntEnum):
    """What happens by itself."""

    LOAD_ENDS = 0
    ALARM = 1
    """A keep_alive may have run out."""
    RECOVERED = 2
    """The wait after an unload is over."""
    POLL = 3
    """The last model was unloaded: the driver is asked for free memory."""


class World:
    """One machine with one GPU, and the time on it.

    Args:
        options: Ollama's settings.
        rng: The source of what Go leaves to chance.
    """

    __slots__ = ("_events", "_sequence", "driver", "loaded", "next_at", "now", "options", "outcomes", "requests", "rng")

    def __init__(self, options: SchedulerOptions, rng: random.Random) -> None:
        self.options = options
        self.rng = rng
        self.driver = Driver(options.gpu_bytes, options.driver_lag_seconds)
        self.loaded = LoadedModels()
        self.now = 0.0
        self.outcomes: list[Outcome] = []
        self.requests: dict[int, Request] = {}
        """Requests that have been neither refused nor ended."""
        self.next_at = inf
        """When the next event happens; `inf` if there is none. Asked several times as often as it changes."""
        self._events: list[tuple[float, int, Event, str]] = []
        self._sequence = 0

    def tell(self, kind: Kind, model: str, request_id: int = -1) -> None:
        """Adds an outcome."""
        self.outcomes.append(Outcome(kind, self.now, request_id, model))

    def number(self) -> int:
        """A number never given before."""
        self._sequence += 1
        return self._sequence

    def at(self, at: float, event: Event, subject: str = "") -> None:
        """Lets `event` happen at `at`."""
        heappush(self._events, (at, self.number(), event, subject))
        self.next_at = self._events[0][0]

    def after(self, seconds: float, event: Event, subject: str = "") -> None:
        """Lets `event` happen `seconds` from now."""
        self.at(self.now + seconds, event, subject)

    def next_event(self) -> tuple[Event, str]:
        """Moves the time to the next event and takes it off the list."""
        at, _, event, subject = heappop(self._events)
        self.next_at = self._events[0][0] if self._events else inf
        self.now = max(self.now, at)
        return event, subject
