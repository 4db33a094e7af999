"""Every cell of the table, on real sockets and the real runner: what clients see, and that nothing is left of it."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from proxy.app import running_app
from proxy.settings import SettingsFile
from proxy.sim.server import SimulatedOllama
from tests.e2e.keepwarm_process import Keepwarm
from tests.faults.link import Link, linked
from tests.faults.scene import OLLAMA, Phase, Place, Scene
from tests.faults.table import TABLE, Absent, Row
from tests.integration.conftest import settings_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.faults.fault import Fault

CELLS = [
    pytest.param(row, phase, id=f"{row.fault} | {phase}")
    for row in TABLE
    for phase, outcome in row.cells.items()
    if not isinstance(outcome, Absent)
]
ONLY_AS_THE_FILES_SAY = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
"""Without these capabilities root itself can't write what is read-only."""


@pytest.mark.parametrize(("row", "phase"), CELLS)
async def test_a_fault_ends_as_the_table_says(row: Row, phase: Phase, tmp_path: Path) -> None:
    fault, expected = row.make(), row.cells[phase]
    assert isinstance(expected, str)
    history = tmp_path / "history" / "usage.sqlite"
    history.parent.mkdir()
    fault.prepare(history)
    async with standing(fault, tmp_path, history) as scene:
        await scene.begin()
        await scene.enter(phase, sent=fault.strikes_sent)
        await fault.strike(scene)
        if phase is Phase.WARM and not any(client.is_sent for client in scene.clients):
            await scene.send()
        scene.link.let_go()
        if fault.seconds is not None:
            await asyncio.sleep(fault.seconds)
            await fault.end(scene)
        seen = await scene.outcomes(scene.clients)
        seen_by_busy = await scene.outcomes(scene.busy)
        if fault.seconds is None:
            await fault.end(scene)
        assert seen <= set(expected.split()), scene.clients
        assert seen_by_busy <= {*str(row.cells[Phase.STREAMING]).split(), "whole"}, scene.busy
        await scene.recovers()
    fault.check(history)


@asynccontextmanager
async def standing(fault: Fault, folder: Path, history: Path) -> AsyncIterator[Scene]:
    """keepwarm in front of the link in front of a simulated Ollama."""
    settings: dict[str, dict[str, object]] = {
        "residency": {"poll": "100ms"},
        "memory": {"budget": "24GiB", "settle": "20ms"},
        "limits": {"pause": "500ms"},
        "upstream": {"connect_timeout": "1s"},
        "server": {"listen": "127.0.0.1:0", "shutdown_grace": "5s"},
        "store": {"path": str(history)},
    }
    ollama = SimulatedOllama(OLLAMA)
    await ollama.start()
    try:
        async with linked(ollama) as link:
            run = in_a_process if fault.own_process else in_this_process
            async with run(folder, link, settings) as place:
                scene = Scene(ollama, link, place, folder / "settings" / "keepwarm.yaml", history)
                try:
                    yield scene
                finally:
                    await scene.close()
    finally:
        await ollama.stop()


@dataclass(frozen=True)
class InThisProcess:
    """The app on the loop of the test."""

    url: str
    admin: str
    pid: int


@asynccontextmanager
async def in_this_process(folder: Path, link: Link, settings: dict[str, dict[str, object]]) -> AsyncIterator[Place]:
    """The app as `keepwarm serve` runs it, where its tasks can be counted."""
    (folder / "settings").mkdir()
    file = SettingsFile(settings_file(folder / "settings", link.url, **settings), {})
    async with running_app(file) as app:
        yield InThisProcess(app.client_url, app.admin_url, os.getpid())


@asynccontextmanager
async def in_a_process(folder: Path, link: Link, settings: dict[str, dict[str, object]]) -> AsyncIterator[Place]:
    """`keepwarm serve` itself."""
    keepwarm = Keepwarm(link.url, folder, settings, ONLY_AS_THE_FILES_SAY)
    try:
        await keepwarm.start()
        yield keepwarm
        await keepwarm.stop()
    finally:
        keepwarm.kill()
        print(keepwarm.log()[-10_000:])  # noqa: T201 - seen if the test fails
