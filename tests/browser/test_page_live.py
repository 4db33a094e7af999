"""The page of a real proxy: what it shows, how it follows, what it says when the proxy is gone."""

from __future__ import annotations

import asyncio
import itertools
import re
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import SCREENSHOTS, in_front_of_ollama

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from playwright.async_api import Browser

    from tests.browser.conftest import Tab

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]
TWO_MINUTES = {"min": "1m", "max": "2m"}
MARK = "window.sameDocument = true"


async def test_it_shows_what_is_in_memory_with_size_worth_reason_and_the_time_left(
    tmp_path: Path, open_tab: Callable[..., Awaitable[Tab]]
) -> None:
    async with in_front_of_ollama(tmp_path, keep_alive=TWO_MINUTES) as proxy, proxy.running():
        await proxy.chat("llama3.1:8b")
        await proxy.chat("qwen3:8b")
        tab = await open_tab(proxy.url)
        page = await tab.live()
        assert await page.locator("#used").text_content() == "9.9 GiB"
        assert await page.locator("#headroom").text_content() == "14.1 GiB free"
        row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="qwen3:8b"))
        assert await row.locator(".size").text_content() == "5.2 GiB"
        assert (await row.locator(".why").text_content() or "").startswith("kept 2m")
        assert " price" in (await row.locator(".times").text_content() or "")
        assert await page.title() == "9.9 GiB of 24 GiB · keepwarm"
        assert re.fullmatch(r"2:00 min|1:[45]\d min", await row.locator(".left").text_content() or "")
        widths = await page.evaluate("[...document.querySelectorAll('#bar .segment')].map(s => s.offsetWidth)")
        assert 1.0 < widths[1] / widths[0] < 1.2  # 5.2 and 4.7 GiB


async def test_it_follows_without_being_loaded_again_and_tells_each_decision(
    tmp_path: Path, open_tab: Callable[..., Awaitable[Tab]]
) -> None:
    async with in_front_of_ollama(tmp_path) as proxy, proxy.running():
        tab = await open_tab(proxy.url)
        page = await tab.live()
        await page.evaluate(MARK)
        assert await page.locator("#no-residents").is_visible()
        for name in ("llama3.2:3b", "gemma3:27b", "phi4:14b"):
            await proxy.chat(name)
            await tab.shows("#residents", name)
            await tab.shows("#decisions li.loaded", name)
        await tab.shows("#decisions li.evicted", "gemma3:27b")
        await tab.shows("#others", "gemma3:27b")
        await page.locator("#residents", has_text="gemma3:27b").wait_for(state="detached")
        assert await page.evaluate("window.sameDocument")


async def test_it_shows_who_waits_for_what_and_the_load_that_is_under_way(
    tmp_path: Path, open_tab: Callable[..., Awaitable[Tab]]
) -> None:
    async with in_front_of_ollama(tmp_path, load_mib_per_second=4500.0) as proxy, proxy.running():
        tab = await open_tab(proxy.url)
        page = await tab.live()
        asking = [asyncio.create_task(proxy.chat("phi4:14b")) for _ in range(2)]
        await tab.shows("#waits", "2 requests")
        assert await page.locator("#waiting-count").text_content() == "2"
        await tab.shows("#bar .loading", "phi4:14b")
        await tab.shows("#doing", "loading phi4:14b")
        await asyncio.gather(*asking)
        await tab.shows("#residents", "phi4:14b")
        assert await page.locator("#no-waits").is_visible()
        assert await page.locator("#doing").text_content() == ""


async def test_when_the_proxy_is_gone_it_says_so_and_goes_on_by_itself_when_it_is_back(
    tmp_path: Path, open_tab: Callable[..., Awaitable[Tab]]
) -> None:
    async with in_front_of_ollama(tmp_path) as proxy:
        async with proxy.running():
            await proxy.chat("llama3.1:8b")
            tab = await open_tab(proxy.url)
            page = await tab.live()
            await page.evaluate(MARK)
        await tab.shows('#connection[data-state="gone"]', "keepwarm does not answer; trying again.")
        await tab.shows("#residents", "llama3.1:8b")  # the last that was known, not an empty page
        async with proxy.running():
            await tab.live()
            await proxy.chat("qwen3:8b")
            await tab.shows("#residents", "qwen3:8b")
            assert await page.evaluate("window.sameDocument")


async def test_a_mistake_in_the_settings_is_shown_and_that_the_good_ones_stay(
    tmp_path: Path, open_tab: Callable[..., Awaitable[Tab]]
) -> None:
    async with in_front_of_ollama(tmp_path, memory={"price": "7ms"}) as proxy, proxy.running():
        tab = await open_tab(proxy.url)
        page = await tab.live()
        await tab.shows("#settings", "7ms")
        good = (tmp_path / "keepwarm.yaml").read_text()
        (tmp_path / "keepwarm.yaml").write_text(good.replace("price", "prize"))
        await tab.shows("#problems", "memory.prize: unknown key, did you mean price?")
        await tab.shows("#reload", "the last change was refused, what was good before stays")
        await tab.shows("#settings", "7ms")
        (tmp_path / "keepwarm.yaml").write_text(good.replace("7ms", "9ms"))
        await tab.shows("#settings", "9ms")
        assert await page.locator("#problems").is_hidden()
        await tab.shows("#decisions li.settings", "Settings read again")


async def test_ollama_that_does_not_answer_is_shown(tmp_path: Path, open_tab: Callable[..., Awaitable[Tab]]) -> None:
    async with in_front_of_ollama(tmp_path) as proxy:
        proxy.upstream_url = "http://127.0.0.1:9"  # nobody listens there
        async with proxy.running():
            tab = await open_tab(proxy.url)
            await tab.shows('#connection[data-state="trouble"]', "Ollama does not answer; requests pass as they come")


async def test_pictures_of_it_are_kept(tmp_path: Path, open_tab: Callable[..., Awaitable[Tab]]) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    async with in_front_of_ollama(tmp_path) as proxy, proxy.running():
        for name in ("gemma3:27b", "llama3.2:3b", "qwen3:8b", "phi4:14b"):
            await proxy.chat(name)
        tab = await open_tab(proxy.url)
        page = await tab.live()
        await tab.shows("#residents", "phi4:14b")
        for width, scheme in itertools.product((380, 1280), ("light", "dark")):
            await page.set_viewport_size({"width": width, "height": 900})
            await page.emulate_media(color_scheme=scheme)
            kept = SCREENSHOTS / f"page-{scheme}-{width}.png"
            await page.screenshot(path=kept, full_page=True)
            assert kept.stat().st_size > 20_000


async def test_with_a_token_the_browser_asks_for_it_once_and_the_page_follows(
    tmp_path: Path, browser: Browser, open_tab: Callable[..., Awaitable[Tab]]
) -> None:
    """As a person does it: any name, and the token as password."""
    admin = {"token_sha256": sha256(b"the token").hexdigest()}
    async with in_front_of_ollama(tmp_path, admin=admin) as proxy, proxy.running():
        tab = await open_tab(proxy.url, http_credentials={"username": "me", "password": "the token"})
        await tab.live()
        await proxy.chat("llama3.2:3b")
        await tab.shows("#residents", "llama3.2:3b")
        for path in ("", "page/app.js", "events", "state", "metrics"):
            stranger = await browser.new_context()
            answer = await stranger.request.get(f"{proxy.url}{path}")
            assert answer.status == 401, path
            await stranger.close()
