"""What the live proxy says that people would have waited for Ollama alone is what they do wait without the proxy.

Clients, proxy and simulated Ollama share an event loop whose time jumps over all waiting, as in `test_replay_agrees`.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from proxy.app import running_app
from proxy.server.clock import SteadyClock
from proxy.settings import SettingsFile
from proxy.sim.server import SimulatedOllama
from tests.integration.conftest import settings_file
from tests.integration.jumping_loop import JumpingLoop
from tests.integration.test_replay_agrees import OPTIONS, ask, sessions

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.raw_upstream import RawUpstream

REQUESTS = 200


async def waits(url: str) -> float:
    """Sends requests there, each a while after the answer before; the seconds that this client waited for models."""
    waited, before = 0.0, 0.0
    async with aiohttp.ClientSession(url) as session:
        for arrival in sessions(seed=1).arrivals[:REQUESTS]:
            asks_at = asyncio.get_running_loop().time() + arrival.at - before
            waited, before = waited + await ask(session, arrival._replace(at=asks_at)), arrival.at
    return waited


async def told(admin_url: str) -> tuple[dict[str, Any], str]:
    async with aiohttp.ClientSession(admin_url) as session:
        async with session.get("/state") as answer:
            state = await answer.json()
        async with session.get("/metrics") as answer:
            return state["saved"], await answer.text()


async def without_keepwarm() -> float:
    ollama = SimulatedOllama(OPTIONS)
    try:
        return await waits(await ollama.start())
    finally:
        await ollama.stop()


async def with_keepwarm(folder: Path) -> tuple[float, dict[str, Any], str, dict[str, Any]]:
    """The seconds that clients waited; what /state and /metrics say of it, and /state after a restart."""
    ollama = SimulatedOllama(OPTIONS)
    async with AsyncExitStack() as stack:
        upstream = await ollama.start()
        stack.push_async_callback(ollama.stop)
        file = SettingsFile(settings_file(folder, upstream, upstream={"connect_timeout": "1h"}), {})
        clock = SteadyClock(asyncio.get_running_loop().time)
        async with running_app(file, clock) as app:
            waited = await waits(app.client_url)
            saved, metrics = await told(app.admin_url)
        async with running_app(file, clock) as app:
            after, _ = await told(app.admin_url)
        return waited, saved, metrics, after


def test_both_sides_of_what_was_saved_are_what_clients_see_with_and_without_keepwarm(tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        alone = runner.run(without_keepwarm())
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        waited, saved, metrics, after = runner.run(with_keepwarm(tmp_path))
    assert saved["waited_seconds"] == pytest.approx(waited, rel=0.1)
    assert saved["alone_seconds"] == pytest.approx(alone, rel=0.1)
    since_start = saved["since_start"]
    assert f'keepwarm_shadow_wait_seconds_total{{policy="keepwarm"}} {since_start["waited_seconds"]}' in metrics
    assert f'keepwarm_shadow_wait_seconds_total{{policy="ollama"}} {since_start["alone_seconds"]}' in metrics
    assert after["seconds"] == pytest.approx(saved["seconds"])
    assert after["since_start"] == {"waited_seconds": 0.0, "alone_seconds": 0.0}


async def test_switched_off_it_tells_nothing_until_it_is_switched_on(tmp_path: Path, upstream: RawUpstream) -> None:
    path = settings_file(tmp_path, upstream.url)
    text = path.read_text()
    path.write_text(text + "shadow: false\n")
    async with running_app(SettingsFile(path, {})) as app:
        saved, metrics = await told(app.admin_url)
        assert saved is None
        assert "keepwarm_shadow_wait_seconds_total{" not in metrics
        path.write_text(text)
        assert await app.reload() == []
        saved, _ = await told(app.admin_url)
        assert saved["seconds"] == 0.0
