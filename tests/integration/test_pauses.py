"""A client that stops in the middle of a request hears of it and is let go; one that is only slow is not hurried."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.integration.raw_http import Wire, answer, chunk, request, until
from tests.integration.test_unreachable import message

if TYPE_CHECKING:
    from tests.integration.conftest import Proxy, StartProxy
    from tests.integration.raw_upstream import RawUpstream

PAUSE_SECONDS = 0.3
BODY = b'{"model":"warm","messages":[{}]}'


@pytest.fixture
async def proxy(upstream: RawUpstream, start_proxy: StartProxy) -> Proxy:
    return await start_proxy(upstream.url, limits={"pause": f"{PAUSE_SECONDS * 1000:.0f}ms"})


async def is_let_go(client: Wire, path: str = "") -> None:
    """The client gets a 408, and its connection is closed."""
    began = time.monotonic()
    head, body = await client.answer()
    assert head.status == 408
    assert head.all("connection") == ["close"]
    assert not path or "limits.pause" in message(path, body)
    await client.closed()
    assert 0.5 * PAUSE_SECONDS < time.monotonic() - began < PAUSE_SECONDS + 1


@pytest.mark.parametrize("begun", [b"P", b"POST /api/chat HTTP/1.1\r\nHost: x\r\nContent-Le"])
async def test_half_a_head_is_not_waited_for_without_end(client: Wire, begun: bytes) -> None:
    await client.send(begun)
    await is_let_go(client)


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/v1/messages"])
async def test_half_a_body_is_not_waited_for_without_end(client: Wire, upstream: RawUpstream, path: str) -> None:
    await client.send(request(path, BODY)[:-5])
    await is_let_go(client, path)
    assert upstream.nothing_arrived()


async def test_half_a_chunk_is_not_waited_for_without_end(client: Wire, upstream: RawUpstream) -> None:
    await client.send(b"POST /api/chat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(BODY)[:-5])
    await is_let_go(client, "/api/chat")
    assert upstream.nothing_arrived()


async def test_half_an_upload_is_not_waited_for_and_never_looks_complete(client: Wire, upstream: RawUpstream) -> None:
    await client.send(request("/api/blobs/sha256:1", b"x" * 1000)[:-500])
    exchange = await upstream.next()
    await is_let_go(client, "/api/blobs/sha256:1")
    with suppress(ConnectionError):
        assert len(await exchange.wire.rest()) == 500
    exchange.done.set()


async def test_an_upload_that_stops_when_its_answer_has_begun_cuts_the_answer(
    client: Wire, upstream: RawUpstream
) -> None:
    await client.send(request("/api/create", b"x" * 1000)[:-500])
    exchange = await upstream.next()
    await exchange.wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    assert (await client.head()).status == 200
    assert await client.exactly(4) == b"half"
    await client.closed()
    await exchange.wire.closed()
    exchange.done.set()


async def test_a_slow_client_is_not_hurried(client: Wire, upstream: RawUpstream) -> None:
    content = request("/api/chat", BODY)
    for at in range(0, len(content), 20):
        await client.send(content[at : at + 20])
        await asyncio.sleep(PAUSE_SECONDS / 3)
    exchange = await upstream.next()
    assert (await exchange.body()).startswith(BODY[:-1])
    await asyncio.sleep(2 * PAUSE_SECONDS)  # an answer may take as long as it likes
    await exchange.reply(answer(b"well"))
    assert (await client.answer())[1] == b"well"


async def test_a_client_that_waits_for_a_slow_upstream_is_not_blamed(client: Wire, upstream: RawUpstream) -> None:
    size = 20_000_000
    uploading = asyncio.create_task(client.send(request("/api/blobs/sha256:1", b"x" * size)))
    exchange = await upstream.next()
    await asyncio.sleep(3 * PAUSE_SECONDS)  # nothing is read meanwhile, and all buffers are full
    assert len(await exchange.body()) == size
    await uploading
    await exchange.reply(answer(b"", status="201 Created"))
    assert (await client.head()).status == 201


async def test_a_client_that_resets_while_its_upload_is_stuck_is_not_served_on(
    proxy: Proxy, client: Wire, upstream: RawUpstream
) -> None:
    """Nothing is read from it then, so its end can't be read either; that of one that closes waits behind its data."""
    client.writer.write(request("/api/blobs/sha256:1", b"x" * 20_000_000))
    exchange = await upstream.next()
    await asyncio.sleep(3 * PAUSE_SECONDS)  # all buffers are full, and the upstream reads nothing
    assert await in_flight(proxy) == 1
    # Without this even an abort is an ordinary end, behind the data.
    client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.reset()
    await until(lambda: nothing_in_flight(proxy), 2)
    exchange.done.set()


async def in_flight(proxy: Proxy) -> float:
    wire = await Wire.connect(proxy.admin_url)
    await wire.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    _, body = await wire.answer()
    wire.close()
    found = re.search(rb"\nkeepwarm_passthrough_requests_in_flight ([\d.]+)\n", body)
    assert found
    return float(found[1])


async def nothing_in_flight(proxy: Proxy) -> bool:
    return await in_flight(proxy) == 0


async def test_a_connection_may_rest_between_two_requests(client: Wire, upstream: RawUpstream) -> None:
    for _ in range(2):
        await client.send(request("/api/chat", BODY))
        exchange = await upstream.next()
        await exchange.body()
        await exchange.reply(answer(b"well"))
        assert (await client.answer())[1] == b"well"
        await asyncio.sleep(2 * PAUSE_SECONDS)
