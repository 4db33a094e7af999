"""keepwarm in a process of its own, beside it a task that measures how late its event loop is through its own fault.

Run as `python -m tests.soak.keepwarm SETTINGS`; says where it listens, and on SIGTERM how late it was. A timer that
fires late has waited for other callbacks, or its thread has waited for a processor that others had. The kernel counts
the second (`run_delay` in /proc/thread-self/schedstat); what is left of the lateness is keepwarm's own. Sleeps are
short, so that at most those milliseconds are taken off too much.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from proxy.cli.running import serve_until_told
from proxy.settings import SettingsFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from proxy.app import App

_SLEEP_SECONDS = 0.005
_PLACES = {"p50": 0.5, "p99": 0.99, "p999": 0.999}


class Lateness:
    """How late timers were, by tenths of a millisecond: it takes no more memory with time."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one."""
        self._counts[max(0, round(seconds * 10_000))] += 1

    def summary(self) -> dict[str, float]:
        """Percentiles and the worst, in seconds."""
        ranked = [tenths / 10_000 for tenths in sorted(self._counts.elements())]
        return {name: ranked[int(len(ranked) * place)] for name, place in _PLACES.items()} | {"max": ranked[-1]}


async def main(settings: Path) -> None:
    """Serve until SIGTERM, as `keepwarm serve` does."""
    own, seen = Lateness(), Lateness()

    @asynccontextmanager
    async def measuring(app: App) -> AsyncIterator[None]:
        print(json.dumps([app.client_url, app.admin_url]), flush=True)  # noqa: T201 - whoever started this waits for it
        task = asyncio.create_task(measure(own, seen))
        yield
        task.cancel()

    await serve_until_told(SettingsFile(settings, {}), beside=measuring)
    print(json.dumps({"own": own.summary(), "seen": seen.summary()}), flush=True)  # noqa: T201 - see above


async def measure(own: Lateness, seen: Lateness) -> None:
    """Note for each sleep how late it ended: by keepwarm's own work, and in all."""
    schedstat = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
    try:
        while True:
            waited, due = _waited_seconds(schedstat), time.monotonic() + _SLEEP_SECONDS
            await asyncio.sleep(_SLEEP_SECONDS)
            late = time.monotonic() - due
            seen.add(late)
            own.add(late - (_waited_seconds(schedstat) - waited))
    finally:
        os.close(schedstat)


def _waited_seconds(schedstat: int) -> float:
    return int(os.pread(schedstat, 100, 0).split()[1]) / 1e9


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))
