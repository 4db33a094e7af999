"""An event loop on which nobody waits: where nothing is to be done, its time jumps to whatever is due next.

Sockets and threads are real, and what goes through them takes no time. Never used by the product.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selectors import SelectorKey

_REAL_PAUSE_SECONDS = 0.0005
"""How long it really waits before each jump: time for the kernel, and for a thread, to hand over what is on its way."""
_LONGEST_JUMP_SECONDS = 1.0
"""So that a timeout of some seconds, on a busy machine, does not overtake what it waits for."""


class JumpingLoop(asyncio.SelectorEventLoop):
    """Its time begins at 0."""

    def __init__(self) -> None:
        self._waiting = _Waiting()
        super().__init__(self._waiting)

    def time(self) -> float:
        """Return the seconds jumped over so far."""
        return self._waiting.jumped_seconds


class _Waiting(selectors.DefaultSelector):
    """Jumps over the time for which it should wait."""

    jumped_seconds = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(min(timeout, _REAL_PAUSE_SECONDS))
        if not ready:
            self.jumped_seconds += min(timeout, _LONGEST_JUMP_SECONDS)
        return ready
