"""The made-up clients of a demo, in front of a server that notes what they ask."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.server.clock import SteadyClock
from proxy.sim.day import Ask, day
from proxy.sim.visitors import body, visitors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SPEED = 20_000.0
MORNING = 9 * 3600.0


@asynccontextmanager
async def noting(asked: list[tuple[str, Any]], *, status: int = 200, hang: bool = False) -> AsyncIterator[str]:
    async def note(request: web.Request) -> web.Response:
        asked.append((request.path, await request.json()))
        if hang:
            await asyncio.Event().wait()
        return web.json_response({}, status=status)

    app = web.Application()
    app.router.add_post("/{path:.*}", note)
    async with TestServer(app, handler_cancellation=True) as server:
        yield str(server.make_url("/"))


async def until(enough: int, asked: list[Any]) -> None:
    async with asyncio.timeout(20):
        while len(asked) < enough:  # noqa: ASYNC110 - the server only notes
            await asyncio.sleep(0.01)


async def test_they_ask_what_the_day_brings_from_now_on_and_nothing_else() -> None:
    asked: list[tuple[str, Any]] = []
    async with (
        noting(asked) as url,
        visitors(url, SteadyClock(speed=SPEED, starts_at=MORNING), speed=SPEED, midnight=0.0),
    ):
        await until(100, asked)
    due = Counter((ask.path, str(body(ask))) for ask in day(0) if ask.at >= MORNING)
    assert not Counter((path, str(content)) for path, content in asked[:100]) - due


async def test_no_more_than_32_are_under_way_and_all_are_over_at_the_end() -> None:
    asked: list[tuple[str, Any]] = []
    async with noting(asked, hang=True) as url:
        async with visitors(url, SteadyClock(speed=SPEED, starts_at=MORNING), speed=SPEED, midnight=0.0):
            await until(32, asked)
            await asyncio.sleep(0.2)  # the day goes on
            assert len(asked) == 32
        assert not [task for task in asyncio.all_tasks() if "visitors" in repr(task.get_coro())]


async def test_an_error_is_said_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[tuple[str, Any]] = []
    async with (
        noting(asked, status=503) as url,
        visitors(url, SteadyClock(speed=SPEED, starts_at=MORNING), speed=SPEED, midnight=0.0),
    ):
        await until(3, asked)
    assert "got status 503 for" in caplog.text


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/api/chat", "messages"),
        ("/v1/chat/completions", "messages"),
        ("/api/generate", "prompt"),
        ("/api/embed", "input"),
    ],
)
def test_each_endpoint_is_asked_in_its_own_words(path: str, key: str) -> None:
    sent = body(Ask(0.0, "editor", path, "qwen3:8b", prompt_words=2, answer_tokens=7, stream=True))
    assert sent["model"] == "qwen3:8b"
    assert "word word" in str(sent[key])
    assert ("7" in str(sent)) is (path != "/api/embed")
