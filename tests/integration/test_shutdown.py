"""Leaving: answers in flight finish, but not for longer than the grace."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from proxy.app import running_app
from proxy.settings import SettingsFile
from tests.integration.conftest import settings_file
from tests.integration.raw_http import CHUNKED_ANSWER, Wire, answer, chunk, request, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.integration.raw_upstream import RawUpstream

    Connect = Callable[[str], Awaitable[Wire]]

BODY = b'{"model":"warm","prompt":"hi"}'


@pytest.fixture
async def connect() -> AsyncIterator[Callable[[str], Awaitable[Wire]]]:
    """Connects clients that outlive the proxy."""
    with ExitStack() as wires:

        async def connected(url: str) -> Wire:
            wire = await Wire.connect(url)
            wires.callback(wire.reset)
            return wire

        yield connected


async def refused(url: str) -> bool:
    try:
        wire = await Wire.connect(url)
    except ConnectionRefusedError:
        return True
    wire.reset()
    return False


async def test_an_answer_in_flight_and_a_held_request_finish_while_new_ones_are_refused(
    upstream: RawUpstream, tmp_path: Path, connect: Connect
) -> None:
    file = SettingsFile(settings_file(tmp_path, upstream.url, server={"shutdown_grace": "5s"}), {})
    upstream.load_may_end.clear()
    stopping = asyncio.Event()

    async def run(started: asyncio.Future[str]) -> None:
        async with running_app(file) as app:
            started.set_result(app.client_url)
            await stopping.wait()

    started = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(run(started))
    url = await started
    client, waiting, idle = [await connect(url) for _ in range(3)]
    await client.send(request("/api/generate", BODY))
    exchange = await upstream.next()
    await exchange.body()
    await exchange.wire.send(CHUNKED_ANSWER + chunk(b"a"))
    await client.head()
    await waiting.send(request("/api/generate", BODY.replace(b"warm", b"cold")))
    await asyncio.sleep(0.1)
    stopping.set()
    await until(lambda: refused(url), 1)
    await exchange.wire.send(chunk(b"b"))
    assert [await client.chunk(), await client.chunk()] == [b"a", b"b"]
    upstream.load_may_end.set()
    late = await upstream.next()
    assert b'"cold"' in await late.body()
    await late.reply(answer(b"in time"))
    assert (await waiting.answer())[1] == b"in time"
    assert not running.done()
    await exchange.reply(chunk(b""))
    assert await client.chunk() == b""
    async with asyncio.timeout(1):
        await running
    await idle.closed()


@pytest.mark.parametrize(("grace", "least", "most"), [("700ms", 0.65, 1.1), ("0s", 0.0, 0.4)])
async def test_an_answer_that_takes_longer_than_the_grace_is_cut_and_does_not_look_complete(
    upstream: RawUpstream, tmp_path: Path, connect: Connect, grace: str, least: float, most: float
) -> None:
    file = SettingsFile(settings_file(tmp_path, upstream.url, server={"shutdown_grace": grace}), {})
    async with asyncio.timeout(10), running_app(file) as app:
        client, held = [await connect(app.client_url) for _ in range(2)]
        await client.send(request("/api/generate", BODY))
        exchange = await upstream.next()
        await exchange.body()
        await exchange.wire.send(CHUNKED_ANSWER + chunk(b"a"))
        await client.head()
        upstream.load_may_end.clear()
        await held.send(request("/api/generate", BODY.replace(b"warm", b"cold")))
        await asyncio.sleep(0.1)
        began = time.monotonic()
    assert least <= time.monotonic() - began <= most
    try:
        rest = await client.rest()
    except ConnectionResetError:
        rest = b""
    assert not rest.endswith(b"0\r\n\r\n")
    await exchange.wire.closed()
    exchange.done.set()


async def test_a_client_that_stays_connected_without_a_request_does_not_hold_up_the_end(
    upstream: RawUpstream, tmp_path: Path, connect: Connect
) -> None:
    file = SettingsFile(settings_file(tmp_path, upstream.url, server={"shutdown_grace": "30s"}), {})
    async with running_app(file) as app:
        _, used, half = [await connect(app.client_url) for _ in range(3)]
        await used.send(request("/x", method="GET"))
        await (await upstream.next()).reply(answer(b"hi"))
        await used.answer()
        await half.send(b"POST /api/chat HTTP/1.1\r\nHost")
        began = time.monotonic()
    assert time.monotonic() - began < 1


async def test_an_open_page_does_not_hold_up_the_end_and_is_told_of_it(
    upstream: RawUpstream, tmp_path: Path, connect: Connect
) -> None:
    file = SettingsFile(settings_file(tmp_path, upstream.url, server={"shutdown_grace": "30s"}), {})
    async with running_app(file) as app:
        reading, stuck = await connect(app.admin_url), await connect(app.admin_url)
        for page in (reading, stuck):
            await page.send(request("/events", method="GET"))
        await reading.head()
        first = await anext(reading.chunks())
        assert first.startswith(b'data: {"')
        began = time.monotonic()
    assert time.monotonic() - began < 1
    rest = [chunk async for chunk in reading.chunks()]  # ends as it should, not cut
    assert all(chunk.startswith(b"data: ") for chunk in rest)
