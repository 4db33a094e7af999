"""Faults that take a process of its own: signals, a full or read-only disk, no descriptors left."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from tests.e2e.keepwarm_process import Keepwarm
from tests.faults.fault import Fault
from tests.integration.raw_http import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.scene import Scene

_NOTICED_SECONDS = 5.0


class ProcessFault(Fault):
    """Strikes the process of keepwarm."""

    own_process = True


class Signalled(ProcessFault):
    """It is told to end, and started again when it has."""

    strikes_sent = True

    def __init__(self, number: signal.Signals) -> None:
        self._number = number

    async def strike(self, scene: Scene) -> None:
        os.kill(scene.place.pid, self._number)
        await asyncio.sleep(0.1)  # it must have begun to end before what was held goes on

    async def end(self, scene: Scene) -> None:
        """It ends with 0, unless it was killed."""
        assert isinstance(scene.place, Keepwarm)
        if self._number is signal.SIGKILL:
            scene.place.kill()
        else:
            await scene.place.ended()
        await scene.place.start()
        await scene.begin()

    def check(self, history: Path) -> None:
        """The usage history is sound."""
        with closing(sqlite3.connect(history)) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            (rows,) = database.execute("SELECT count(*) FROM requests").fetchone()
        assert rows


class DiskFull(ProcessFault):
    """No file of the process can grow: neither the usage history nor the log."""

    async def strike(self, scene: Scene) -> None:
        self._limits = resource.prlimit(scene.place.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(scene.place.pid, resource.RLIMIT_FSIZE, (0, self._limits[1]))
        await until(lambda: _store_is(scene, up=False), _NOTICED_SECONDS)

    async def end(self, scene: Scene) -> None:
        resource.prlimit(scene.place.pid, resource.RLIMIT_FSIZE, self._limits)

    def check(self, history: Path) -> None:
        """Nothing is lost: what could not be written was written later."""
        with closing(sqlite3.connect(history)) as database:
            (rows,) = database.execute("SELECT count(*) FROM requests").fetchone()
        assert rows >= 9, f"{rows} requests in the usage history"


class ReadOnly(ProcessFault):
    """The folder of the usage history is read-only since before the start, also for root."""

    def prepare(self, history: Path) -> None:
        history.touch(0o400)
        history.parent.chmod(0o500)

    async def strike(self, scene: Scene) -> None:
        await until(lambda: _store_is(scene, up=False), _NOTICED_SECONDS)

    async def end(self, scene: Scene) -> None:
        scene.history.parent.chmod(0o700)
        scene.history.chmod(0o600)

    def check(self, history: Path) -> None:
        """What could not be written was written later."""
        with closing(sqlite3.connect(history)) as database:
            (rows,) = database.execute("SELECT count(*) FROM requests").fetchone()
        assert rows >= 9, f"{rows} requests in the usage history"


class NoDescriptors(ProcessFault):
    """The process can open nothing: no connection, no file. A client that comes then waits until it can."""

    strikes_sent = False

    async def strike(self, scene: Scene) -> None:
        pid = scene.place.pid
        self._limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}  # noqa: PTH208 - names are enough
        first_free = next(number for number in range(len(used) + 1) if number not in used)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (first_free, self._limits[1]))

    async def end(self, scene: Scene) -> None:
        resource.prlimit(scene.place.pid, resource.RLIMIT_NOFILE, self._limits)


async def _store_is(scene: Scene, *, up: bool) -> bool:
    return bool((await scene.state())["store"]["up"] is up)
