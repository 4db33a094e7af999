"""The one clock that events are stamped with: unix seconds that never jump."""

from __future__ import annotations

import time


class SteadyClock:
    """Wall clock at the start of the process, from then on monotonic: a changed wall clock moves no timer."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def __call__(self) -> float:
        """Return the time in unix seconds."""
        return time.monotonic() + self._offset
