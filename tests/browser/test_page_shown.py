"""The page with made-up states: hostile names, keys, screens of every size, and who may watch."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.async_playwright import Axe

from tests.browser.conftest import made_up
from tests.browser.states import GIB, model, resident, state

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Page

    from tests.browser.conftest import Tab

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]
HOSTILE = "<img src=x onerror=\"window.hacked='yes'\"><script>window.hacked='yes'</script>&lt;b&gt;\u202e"
LONG = "hf.co/someone-with-a-long-name/" + "a-model-with-a-very-long-name-" * 8 + ":q4_k_m"


async def test_hostile_names_and_texts_stay_text(open_tab: Callable[..., Awaitable[Tab]]) -> None:
    hostile = state(
        version=HOSTILE,
        budget_source=HOSTILE,
        operation=f"{HOSTILE}: x",
        residents=[resident(HOSTILE, reason=HOSTILE, leaving=HOSTILE), resident("__proto__"), resident("constructor")],
        models=[model(f"other {HOSTILE}"), model("toString")],
        waits=[{"model": HOSTILE, "requests": 1, "since": time.time(), "reason": HOSTILE}],
        loading={"model": f"new {HOSTILE}", "bytes": GIB, "began_at": time.time(), "expected_seconds": 1.0},
        decisions=[{"at": time.time(), "kind": HOSTILE, "model": HOSTILE, "reason": HOSTILE}],
        settings={
            "file": HOSTILE,
            "error": HOSTILE,
            "after_restart": [HOSTILE],
            "reloads_ok": 1,
            "in_force": {HOSTILE: HOSTILE},
        },
    )
    async with made_up(hostile) as shown:
        tab = await open_tab(shown.url)
        page = await tab.live()
        for place in ("#residents .name", "#residents .why", "#waits .reason", "#decisions .reason", "#problems"):
            assert HOSTILE in (await page.locator(place).first.text_content() or "")
        assert await page.locator("#residents tr").count() == 3
        assert await page.locator("img, script, b").count() == 2  # the page's own icon and script
        assert await page.evaluate("window.hacked") is None


async def test_the_policy_is_in_force_an_inline_script_does_not_run(open_tab: Callable[..., Awaitable[Tab]]) -> None:
    async with made_up(state()) as shown:
        tab = await open_tab(shown.url)
        page = await tab.live()
        await page.evaluate(
            """() => {
                const script = document.createElement("script");
                script.textContent = "window.hacked = true";
                document.body.append(script);
                document.body.setAttribute("style", "color: red");
            }"""
        )
        assert await page.evaluate("window.hacked") is None
        assert await page.evaluate("getComputedStyle(document.body).color") != "rgb(255, 0, 0)"
        assert len(tab.complaints) == 2  # the browser's, one for each
        tab.complaints.clear()


async def test_every_part_that_scrolls_or_leads_somewhere_is_reached_by_the_keyboard_and_seen(
    open_tab: Callable[..., Awaitable[Tab]],
) -> None:
    failed = {**state()["settings"], "error": "keepwarm.yaml:2:3: memory.prize: unknown key"}
    decisions = [{"at": time.time() - n, "kind": "left", "model": f"m{n}", "reason": "Gone."} for n in range(40)]
    async with made_up(state(settings=failed, decisions=decisions)) as shown:
        tab = await open_tab(shown.url)
        page = await tab.live()
        reached = []
        for _ in range(4):
            await page.keyboard.press("Tab")
            reached.append(
                await page.evaluate(
                    "[document.activeElement.className || document.activeElement.getAttribute('href'),"
                    " getComputedStyle(document.activeElement).outlineStyle]"
                )
            )
        assert reached == [["scroll", "solid"], ["problems", "solid"], ["state", "solid"], ["metrics", "solid"]]
        scroll = page.locator(".scroll")
        await scroll.focus()
        await page.keyboard.press("End")
        await tab.until("document.querySelector('.scroll').scrollTop > 100")


async def test_the_landmarks_headings_and_tables_are_there_for_who_does_not_see_them(
    open_tab: Callable[..., Awaitable[Tab]],
) -> None:
    async with made_up(state()) as shown:
        for width in (1280, 380):  # as cards the tables are tables too
            page = await (await open_tab(shown.url, width)).live()
            for landmark in ("banner", "main", "contentinfo"):
                assert await page.get_by_role(landmark).count() == 1  # type: ignore[arg-type]
            headings = await page.get_by_role("heading", level=2).all_text_contents()
            assert [heading.strip().split(" ")[0] for heading in headings] == [
                *("GPU", "In", "Waiting", "Last", "Not", "Settings")
            ]
            table = page.get_by_role("table", name="In memory now")
            assert await table.get_by_role("columnheader").count() == 7
            assert await table.get_by_role("row").count() == 4
            row = table.get_by_role("row").filter(has=page.get_by_role("rowheader", name="llama3.1:8b"))
            assert await row.get_by_role("cell").count() == 6
            bar = page.get_by_role("img", name="10.2 GiB of 24 GiB used, 13.8 GiB free; llama3.1:8b 4.7 GiB")
            assert await bar.count() == 1
            assert await page.locator("[role=status]").text_content() == "Live"


async def test_axe_finds_nothing_to_complain_of(open_tab: Callable[..., Awaitable[Tab]]) -> None:
    failed = {**state()["settings"], "error": "keepwarm.yaml:2:3: memory.prize: unknown key"}
    async with made_up(state(settings=failed, saved=7980.0)) as shown:
        for width, scheme in itertools.product((380, 1280), ("light", "dark")):
            page = await (await open_tab(shown.url, width, color_scheme=scheme)).live()
            found = await Axe().run(page)
            assert found.response["passes"]
            assert found.response["violations"] == [], found.generate_report()


async def test_nothing_scrolls_sideways_however_long_the_names_are(open_tab: Callable[..., Awaitable[Tab]]) -> None:
    long = state(
        residents=[resident(LONG, 20, reason=LONG), resident("b", 0.001)],
        models=[model(f"x{LONG}")],
        waits=[{"model": LONG, "requests": 99, "since": time.time() - 1e6, "reason": LONG}],
        decisions=[{"at": time.time(), "kind": "failed", "model": LONG, "reason": LONG}],
        settings={**state()["settings"], "file": "/" + "x" * 300, "error": "y" * 300, "in_force": {LONG: LONG}},
    )
    cut = "[...document.querySelectorAll('section')].filter(s => s.scrollWidth > s.clientWidth).map(s => s.className)"
    async with made_up(long) as shown:
        page = await (await open_tab(shown.url)).live()
        for width in (320, 380, 768, 1100, 1280):
            await page.set_viewport_size({"width": width, "height": 900})
            assert await page.evaluate("document.documentElement.scrollWidth") == width
            assert await page.evaluate(cut) == []


PLACES = "[...document.querySelectorAll('section, th')].map(e => [e.offsetLeft, e.offsetTop, e.offsetWidth])"


async def test_nothing_jumps_when_somebody_waits_or_numbers_change(open_tab: Callable[..., Awaitable[Tab]]) -> None:
    calm = state(waits=[], waiting=0, loading=None, operation=None, decisions=[])
    busy = [{**one, "busy": 12, "uses_per_hour": 1234.5, "worth": 98.7} for one in calm["residents"]]
    async with made_up(calm) as shown:
        for width in (380, 1280):
            page = await (await open_tab(shown.url, width)).live()
            before = await page.evaluate(PLACES)
            shown.shows(**{**state(), "residents": busy})
            await page.locator("#waits li").wait_for()
            assert await page.evaluate(PLACES) == before
            shown.shows(**calm)
            await page.locator("#waits li").wait_for(state="detached")


async def test_nothing_jumps_when_the_proxy_is_gone(open_tab: Callable[..., Awaitable[Tab]]) -> None:
    async with made_up(state()) as shown:
        tab = await open_tab(shown.url, 380)
        page = await tab.live()
        before = await page.evaluate(PLACES)
    await tab.shows('#connection[data-state="gone"]', "keepwarm does not answer; trying again. What is shown is")
    assert await page.evaluate(PLACES) == before


WORDS: list[tuple[dict[str, Any], str, str]] = [
    ({"residents": [resident(kept_until=None)]}, "#residents .left", "for ever"),
    ({"residents": [resident(pinned=True)]}, "#residents .left", "pinned"),
    ({"residents": [resident(busy=1)]}, "#residents .until", "1 request"),
    ({"residents": [resident(leaving="eviction")]}, "#residents .until", "to make room"),
    ({"residents": [resident(vram_bytes=GIB)]}, "#residents .spilled", "3.7 GiB not on the GPU"),
    ({"residents": [resident(kept_until=0)]}, "#residents .left", "0:00 min"),
    ({"residents": []}, "#no-residents", "No model is loaded."),
    ({"budget_bytes": None, "headroom_bytes": None}, "#of-budget", "used, budget not known yet"),
    ({"headroom_bytes": -GIB}, "#headroom.over", "1 GiB over the budget"),
    ({"price": 0.0}, "#price", "none: memory is free until someone needs it"),
    ({"saved": 7980.0}, "#saved:not(.worse)", "2 h 13 min of waiting saved, compared with Ollama alone"),
    ({"saved": {"seconds": -5.0}}, "#saved.worse", "5 s more waiting than with Ollama alone"),
    ({"models_known": 0}, "#others-count", ""),
]


async def test_each_thing_has_its_words(open_tab: Callable[..., Awaitable[Tab]]) -> None:
    async with made_up(state()) as shown:
        tab = await open_tab(shown.url)
        page = await tab.live()
        for number, (changes, selector, text) in enumerate(WORDS):
            shown.shows(**{**state(**changes), "budget_source": f"case {number}"})
            await tab.shows("#budget-source", f"case {number}")
            assert await page.locator(selector).first.text_content() == text


async def test_a_countdown_goes_by_the_clock_of_the_proxy_not_by_that_of_the_browser(
    open_tab: Callable[..., Awaitable[Tab]],
) -> None:
    tomorrow = time.time() + 100_000
    async with made_up(state(at=tomorrow, residents=[resident(kept_until=tomorrow + 90)])) as shown:
        page = await (await open_tab(shown.url)).live()
        assert await page.locator("#residents .left").first.text_content() in ("1:30 min", "1:29 min")


async def test_a_countdown_runs_down_second_by_second_without_any_news(open_tab: Callable[..., Awaitable[Tab]]) -> None:
    look = """() => new Promise((done) => {
        const seen = [], began = performance.now();
        const looking = setInterval(() => {
            seen.push(document.querySelector("#residents .left").textContent);
            if (performance.now() - began < 2500) return;
            clearInterval(looking);
            done(seen);
        }, 50);
    })"""
    async with made_up(state(residents=[resident(kept_until=time.time() + 599)])) as shown:
        page = await (await open_tab(shown.url)).live()
        seen: list[str] = await page.evaluate(look)
        assert seen == sorted(seen, reverse=True)
        assert 3 <= len(set(seen)) <= 5
        assert shown.pictures == 1


async def test_a_page_that_nobody_sees_asks_for_nothing(open_tab: Callable[..., Awaitable[Tab]]) -> None:
    hide = """hidden => {
        Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    async with made_up(state()) as shown:
        tab = await open_tab(shown.url)
        page = await tab.live()
        await page.evaluate(hide, True)  # noqa: FBT003 - the argument of the script
        for _ in range(5):
            shown.shows(waiting=0)
            await asyncio.sleep(0.1)
        made = shown.pictures
        shown.shows(waiting=0)
        await asyncio.sleep(0.2)
        assert shown.pictures == made
        await page.evaluate(hide, False)  # noqa: FBT003 - as above
        shown.shows(waiting=7)
        await tab.shows("#waiting-count", "7")


async def test_who_is_one_too_many_is_told_so_and_let_in_later(open_tab: Callable[..., Awaitable[Tab]]) -> None:
    async with made_up(state(), watchers=1) as shown:
        first = await open_tab(shown.url)
        await first.live()
        second = await open_tab(shown.url)
        await second.shows("#connection", "keepwarm answers 503: 1 pages watch already, no more may; trying again.")
        await first.page.goto("about:blank")
        shown.shows(waiting=0)
        await asyncio.sleep(0.2)
        shown.shows(waiting=0)
        await second.live()
        second.complaints.clear()  # Chromium tells of each 503


async def test_another_version_of_keepwarm_brings_its_own_page(open_tab: Callable[..., Awaitable[Tab]]) -> None:
    async with made_up(state()) as shown:
        tab = await open_tab(shown.url)
        page = await tab.live()
        await page.evaluate("window.sameDocument = true")
        async with page.expect_event("load"):
            shown.shows(version="0.2.0")
        await tab.shows("#version", "0.2.0")
        assert await page.evaluate("window.sameDocument") is None


async def test_who_wants_no_motion_gets_none(open_tab: Callable[..., Awaitable[Tab]]) -> None:
    async def moves(page: Page) -> str:
        found: str = await page.evaluate("getComputedStyle(document.querySelector('.segment')).transitionDuration")
        return found

    async with made_up(state()) as shown:
        assert await moves(await (await open_tab(shown.url)).live()) == "0.3s"
        assert await moves(await (await open_tab(shown.url, reduced_motion="reduce")).live()) == "0s"
