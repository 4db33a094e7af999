"""The one clock that events are stamped with: unix seconds that never jump."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class SteadyClock:
    """Wall clock at the start of the process, from then on monotonic: a changed wall clock moves no timer."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Follow this clock, in seconds since any moment; a simulation brings its own."""
        self._monotonic = monotonic
        self._offset = time.time() - monotonic()

    def __call__(self) -> float:
        """Return the time in unix seconds."""
        return self._monotonic() + self._offset
