"""The real app, started as `keepwarm serve` starts it, in front of an upstream that the test plays itself."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pytest
import uvloop
import yaml

from proxy.app import running_app
from proxy.settings import SettingsFile
from tests.integration.raw_http import Wire
from tests.integration.raw_upstream import RawUpstream, raw_upstream

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], AbstractEventLoop]]:
    """The loop that `keepwarm serve` runs on: aborts and disconnects are not the same on every loop."""
    return {"uvloop": uvloop.new_event_loop}


@dataclass
class Proxy:
    """A running proxy, and clients of it."""

    client_url: str
    admin_url: str
    stack: AsyncExitStack

    async def client(self, *, buffer_bytes: int = 2**16) -> Wire:
        """Connect to the client port; closed at the end of the test."""
        wire = await Wire.connect(self.client_url, buffer_bytes=buffer_bytes)
        self.stack.callback(wire.reset)
        return wire


class StartProxy(Protocol):
    """Starts the app in front of an upstream; sections of the settings as keywords."""

    async def __call__(self, upstream_url: str, **settings: dict[str, object]) -> Proxy: ...


def settings_file(folder: Path, upstream_url: str, **settings: dict[str, object]) -> Path:
    """Write a settings file: any free ports, everything that is kept in the folder."""
    sections: dict[str, dict[str, object]] = {
        "server": {"listen": "127.0.0.1:0", "shutdown_grace": "1s"},
        "admin": {"listen": "127.0.0.1:0"},
        "upstream": {"url": upstream_url},
        "memory": {"budget": "24GiB"},
        "store": {"path": str(folder / "usage.sqlite")},
    }
    for name, section in settings.items():
        sections[name] = {**sections.get(name, {}), **section}
    path = folder / "keepwarm.yaml"
    path.write_text(yaml.safe_dump(sections))
    return path


@pytest.fixture
async def start_proxy(tmp_path: Path) -> AsyncIterator[StartProxy]:
    async with AsyncExitStack() as apps, AsyncExitStack() as clients:  # clients leave first

        async def start(upstream_url: str, **settings: dict[str, object]) -> Proxy:
            file = SettingsFile(settings_file(tmp_path, upstream_url, **settings), {})
            app = await apps.enter_async_context(running_app(file))
            return Proxy(app.client_url, app.admin_url, clients)

        yield start


@pytest.fixture
async def upstream() -> AsyncIterator[RawUpstream]:
    async with raw_upstream() as running:
        yield running


@pytest.fixture
async def proxy(upstream: RawUpstream, start_proxy: StartProxy) -> Proxy:
    return await start_proxy(upstream.url)


@pytest.fixture
async def client(proxy: Proxy) -> Wire:
    return await proxy.client()
