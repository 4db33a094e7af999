"""Faults of the place: settings file, usage history, clock. What only a process can suffer is in `process_faults`."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import yaml

from tests.faults.fault import Fault
from tests.faults.link import Misbehaviour
from tests.faults.upstream_faults import Shows, expires
from tests.integration.raw_http import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.scene import Scene

_BROKEN = "server: [\nmemory: {budgt"
_NOTICED_SECONDS = 2.0
_LOCK = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=5)
database.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""
_FLAPS, _FLAP_SECONDS = 12, 0.05


class SettingsFault(Fault):
    """Something becomes of the settings file; put right in the end, and keepwarm must have noticed both."""

    def __init__(self, spoil: Callable[[Path], None], told: str) -> None:
        self._spoil, self._told = spoil, told
        self._good = ""

    async def strike(self, scene: Scene) -> None:
        path = scene.settings
        self._good = path.read_text()
        before = (await scene.state())["settings"][self._told]
        self._spoil(path)

        async def noticed() -> bool:
            return bool((await scene.state())["settings"][self._told] != before)

        await until(noticed, _NOTICED_SECONDS)

    async def end(self, scene: Scene) -> None:
        _replace(scene.settings, self._good)
        before = (await scene.state())["settings"]["reloads_ok"]

        async def is_good() -> bool:
            settings = (await scene.state())["settings"]
            return settings["error"] is None and settings["reloads_ok"] > before

        await until(is_good, _NOTICED_SECONDS)


class SettingsFlap(SettingsFault):
    """The file is good and broken by turns, 20 times a second."""

    def __init__(self) -> None:
        super().__init__(break_it, "error")
        self._flapping: asyncio.Task[None] | None = None

    async def strike(self, scene: Scene) -> None:
        await super().strike(scene)
        self._flapping = asyncio.create_task(self._flap(scene.settings))

    async def end(self, scene: Scene) -> None:
        assert self._flapping is not None
        await self._flapping
        await super().end(scene)

    async def _flap(self, path: Path) -> None:
        for turn in range(_FLAPS):
            _replace(path, _BROKEN if turn % 2 else self._good + f"# {turn}\n")
            await asyncio.sleep(_FLAP_SECONDS)


def break_it(path: Path) -> None:
    path.write_text(_BROKEN)


def remove(path: Path) -> None:
    path.unlink()


def tighten(path: Path) -> None:
    """Other values for all that is read while keepwarm runs: less room than is taken, another policy, shorter times."""
    settings: dict[str, Any] = yaml.safe_load(path.read_text())
    settings |= {"policy": "lru", "keep_alive": {"min": "1s", "max": "90s"}, "max_wait": "1s"}
    settings["memory"] |= {"budget": "15GiB", "price": "50ms"}
    _replace(path, yaml.safe_dump(settings))


def _replace(path: Path, text: str) -> None:
    """As editors do it."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


class HistoryFault(Fault):
    """Something becomes of the usage history; in the end what it lost is made up for where that can be."""

    def check(self, history: Path) -> None:
        """Every request of this cell is there: 4 before, 3 or more in it, 2 after."""
        with closing(sqlite3.connect(history)) as database:
            (rows,) = database.execute("SELECT count(*) FROM requests").fetchone()
        assert rows >= 9, f"{rows} requests in the usage history"


class HistoryLocked(HistoryFault):
    """Another program begins to write to the database and does not end."""

    async def strike(self, scene: Scene) -> None:
        pipe = asyncio.subprocess.PIPE
        command = [sys.executable, "-c", _LOCK, str(scene.history)]
        self._locking = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        assert self._locking.stdout
        assert await self._locking.stdout.readline()

    async def end(self, scene: Scene) -> None:
        await self._locking.communicate(b"")


class HistoryCorrupted(Fault):
    """What is in the file is garbage all of a sudden."""

    async def strike(self, scene: Scene) -> None:
        for path in scene.history.parent.glob("usage.sqlite*"):
            with path.open("r+b") as file:
                file.write(os.urandom(path.stat().st_size))

    def check(self, history: Path) -> None:
        """Whatever was set aside, there is a sound database again."""
        with closing(sqlite3.connect(history)) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            (saved,) = database.execute("SELECT body FROM state").fetchone()
        assert "warm:latest" in saved


class HistoryRemoved(Fault):
    """The files are deleted while they are in use."""

    async def strike(self, scene: Scene) -> None:
        for path in scene.history.parent.glob("usage.sqlite*"):
            path.unlink()

    def check(self, history: Path) -> None:
        """The requests since then are written down, and the statistics."""
        with closing(sqlite3.connect(history)) as database:
            (rows,) = database.execute("SELECT count(*) FROM requests").fetchone()
            (saved,) = database.execute("SELECT body FROM state").fetchone()
        assert rows >= 5
        assert "warm:latest" in saved


class ClockJumps(Fault):
    """The wall clock of the machine jumps: that of keepwarm, and of Ollama, which tells `expires_at` by it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._time = time.time

    async def strike(self, scene: Scene) -> None:
        time.time = lambda: self._time() + self._seconds
        scene.link.misbehaviour = Shows(expires(self._seconds))

    async def end(self, scene: Scene) -> None:
        time.time = self._time
        scene.link.misbehaviour = Misbehaviour()
