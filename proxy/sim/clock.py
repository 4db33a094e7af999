"""The simulated Ollama's time: real time, or a multiple of it; schedules nothing."""

from __future__ import annotations

import asyncio


class Clock:
    """Virtual seconds since the clock was made; needs a running event loop.

    Args:
        speed: Virtual seconds per real second, > 0.
    """

    def __init__(self, speed: float) -> None:
        if speed <= 0:
            raise ValueError(f"speed must be > 0 virtual seconds per second, got {speed}")
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._speed = speed

    def now(self) -> float:
        """The time in virtual seconds."""
        return (self._loop.time() - self._began) * self._speed

    def loop_time(self, at: float) -> float:
        """When virtual time will be `at`, as the event loop counts."""
        return self._began + at / self._speed

    async def sleep_until(self, at: float) -> None:
        """Sleeps until virtual time is `at`; not at all if that is past."""
        delay = self.loop_time(at) - self._loop.time()
        if delay > 0:
            await asyncio.sleep(delay)
