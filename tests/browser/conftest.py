"""Headless Chromium, and what the page shows in it: a real proxy, or a state that the test makes up."""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest_asyncio
from aiohttp import ClientSession, web
from playwright.async_api import async_playwright

from proxy.app import running_app
from proxy.server.feed import Feed, Pace
from proxy.server.page import add_page, picture
from proxy.settings import SettingsFile
from proxy.sim.server import SimulatedOllama
from proxy.sim.site import SimulatedOllamaOptions
from tests.integration.conftest import settings_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from playwright.async_api import Browser, ConsoleMessage, Page

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
UNREACHABLE = "net::ERR_"  # what Chromium itself writes to the console when the proxy is gone
PATIENCE_MS = 10_000


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        yield chromium
        await chromium.close()


@dataclass
class Tab:
    """A page of the browser, and whatever it complained about: scripts, styles, policies."""

    page: Page
    complaints: list[str]

    async def live(self) -> Page:
        """Wait until it shows the proxy's state."""
        await self.page.wait_for_selector('#connection[data-state="live"]', timeout=PATIENCE_MS)
        return self.page

    async def until(self, expression: str) -> None:
        """Wait until this is so; playwright's own way of waiting evaluates strings, which the page's policy forbids."""
        async with asyncio.timeout(PATIENCE_MS / 1000):
            while not await self.page.evaluate(expression):  # noqa: ASYNC110 - the browser is another process
                await asyncio.sleep(0.02)

    async def shows(self, selector: str, text: str) -> None:
        """Wait until this element says so."""
        await self.page.locator(selector, has_text=text).first.wait_for(timeout=PATIENCE_MS)


@pytest_asyncio.fixture(loop_scope="session")
async def open_tab(browser: Browser) -> AsyncIterator[Callable[..., Awaitable[Tab]]]:
    """Opens a tab; at the end of the test none may have complained of anything."""
    tabs: list[Tab] = []

    async def open_it(url: str, width: int = 1280, height: int = 900, **options: Any) -> Tab:
        page = await browser.new_page(viewport={"width": width, "height": height}, **options)
        tab = Tab(page, [])
        tabs.append(tab)

        def note(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning") and UNREACHABLE not in message.text:
                tab.complaints.append(message.text)

        page.on("console", note)
        page.on("pageerror", lambda error: tab.complaints.append(str(error)))
        page.set_default_timeout(PATIENCE_MS)
        await page.goto(url)
        return tab

    yield open_it
    for tab in tabs:
        await tab.page.close()
    assert [complaint for tab in tabs for complaint in tab.complaints] == []


@dataclass
class MadeUp:
    """A state of which the test says everything."""

    state: dict[str, Any]
    url: str = ""
    pictures: int = 0
    feed: Feed = field(init=False)

    def picture(self) -> bytes:
        self.pictures += 1
        return picture(self.state, 1.0)

    def shows(self, **changes: Any) -> None:
        """Change the state, and let the page know."""
        self.state = {**self.state, **changes}
        self.feed.changed()


@asynccontextmanager
async def made_up(state: dict[str, Any], *, watchers: int = 16) -> AsyncIterator[MadeUp]:
    """Serve the page with this state."""
    shown = MadeUp(state)
    shown.feed = Feed(shown.picture, Pace(pause_seconds=0.05, watchers=watchers))
    app = web.Application()
    add_page(app, shown.feed)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        shown.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        yield shown
    finally:
        await runner.cleanup()


@dataclass
class Proxy:
    """A real proxy in front of a simulated Ollama; it can be stopped and started again."""

    folder: Path
    upstream_url: str
    settings: dict[str, dict[str, object]]
    client_url: str = ""
    url: str = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run it; the second time on the same port."""
        admin = {"listen": self.url.removeprefix("http://").rstrip("/") or "127.0.0.1:0"}
        settings = {**self.settings, "admin": {**admin, **self.settings.get("admin", {})}}
        file = settings_file(self.folder, self.upstream_url, **settings)
        async with running_app(SettingsFile(file, {})) as app:
            self.client_url, self.url = app.client_url, f"{app.admin_url}/"
            yield

    async def chat(self, model: str) -> None:
        """Ask a model something, and wait for the answer."""
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": False}
        async with ClientSession() as session, session.post(f"{self.client_url}/api/chat", json=body) as answer:
            assert json.loads(await answer.read())["done"]


@asynccontextmanager
async def in_front_of_ollama(
    folder: Path, *, load_mib_per_second: float = 1e5, **settings: dict[str, object]
) -> AsyncIterator[Proxy]:
    """Set up a proxy in front of a simulated Ollama that runs."""
    ollama = SimulatedOllama(
        SimulatedOllamaOptions(load_mib_per_second=load_mib_per_second, load_overhead_seconds=0.01)
    )
    url = await ollama.start()
    try:
        yield Proxy(folder, url, settings)
    finally:
        await ollama.stop()
