"""The one clock that events are stamped with: unix seconds that never jump."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class SteadyClock:
    """Wall clock at the start of the process, from then on monotonic: a changed wall clock moves no timer.

    Args:
        monotonic: the clock to follow, in seconds since any moment; a simulation may bring its own.
        speed: its seconds per second of that one, > 0; other than 1 only in front of a simulated Ollama whose time
            passes as fast.
        starts_at: what it shows first, unix seconds; None: the wall clock.
    """

    def __init__(
        self, monotonic: Callable[[], float] = time.monotonic, speed: float = 1.0, starts_at: float | None = None
    ) -> None:
        self.speed = speed
        self._monotonic = monotonic
        self._began = monotonic()
        self._first = time.time() if starts_at is None else starts_at

    def __call__(self) -> float:
        """Return the time in unix seconds."""
        return self._first + (self._monotonic() - self._began) * self.speed
