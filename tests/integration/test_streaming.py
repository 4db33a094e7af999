"""Bodies stream: piece by piece, at once, at the pace of the slower side, for as long as they like."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.integration.raw_http import CHUNKED_ANSWER, answer, chunk, request

if TYPE_CHECKING:
    from tests.integration.conftest import Proxy, StartProxy
    from tests.integration.raw_http import Wire
    from tests.integration.raw_upstream import RawUpstream

ENDPOINTS = ["/api/tags", "/api/generate", "/v1/chat/completions"]
BODY = b'{"model":"warm","prompt":"hi"}'
AT_ONCE_SECONDS = 0.1
MIB = 2**20


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_each_chunk_reaches_the_client_before_the_next_is_sent(
    client: Wire, upstream: RawUpstream, endpoint: str
) -> None:
    await client.send(request(endpoint, BODY))
    exchange = await upstream.next()
    await exchange.body()
    await exchange.wire.send(CHUNKED_ANSWER)
    async with asyncio.timeout(AT_ONCE_SECONDS):
        assert (await client.head()).status == 200  # in silence, before the first chunk
    for number in range(20):
        await exchange.wire.send(chunk(b"%d" % number))
        async with asyncio.timeout(AT_ONCE_SECONDS):
            assert await client.chunk() == b"%d" % number
    await exchange.reply(chunk(b""))
    assert await client.chunk() == b""


async def test_chunks_that_arrive_together_stay_apart(client: Wire, upstream: RawUpstream) -> None:
    pieces = [b"%d" % number for number in range(500)]
    await client.send(request("/api/generate", BODY))
    exchange = await upstream.next()
    await exchange.body()
    await exchange.reply(CHUNKED_ANSWER + b"".join(map(chunk, pieces)) + chunk(b""))
    await client.head()
    assert [content async for content in client.chunks()] == pieces


async def test_a_client_that_stops_reading_and_goes_on_gets_every_byte_in_order(
    proxy: Proxy, upstream: RawUpstream
) -> None:
    pieces = [b"%d " % number * (4 * (number % 997) + 1) for number in range(4000)]
    client = await proxy.client(buffer_bytes=1024)
    await client.send(request("/api/generate", BODY))
    exchange = await upstream.next()
    await exchange.body()
    await exchange.wire.send(CHUNKED_ANSWER)
    await client.head()

    async def send_all() -> None:
        for piece in pieces:
            await exchange.wire.send(chunk(piece))
        await exchange.reply(chunk(b""))

    sending = asyncio.create_task(send_all())
    await asyncio.wait([sending], timeout=0.5)
    assert not sending.done()  # all buffers on the way are full
    assert b"".join([content async for content in client.chunks()]) == b"".join(pieces)
    await sending


async def test_a_body_with_a_length_is_not_held_back_either(client: Wire, upstream: RawUpstream) -> None:
    await client.send(request("/api/tags", method="GET"))
    exchange = await upstream.next()
    await exchange.wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
    async with asyncio.timeout(AT_ONCE_SECONDS):
        await client.head()
    for number in range(10):
        await exchange.wire.send(b"%02d" % number)
        async with asyncio.timeout(AT_ONCE_SECONDS):
            assert await client.exactly(2) == b"%02d" % number


async def test_each_chunk_reaches_the_upstream_before_the_next_is_sent(client: Wire, upstream: RawUpstream) -> None:
    await client.send(
        b"POST /api/blobs/x HTTP/1.1\r\nHost: x\r\nX-Client: t\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"0")
    )
    async with asyncio.timeout(AT_ONCE_SECONDS):
        exchange = await upstream.next()
        assert await exchange.wire.chunk() == b"0"
    for number in range(1, 20):
        await client.send(chunk(b"%d" % number))
        async with asyncio.timeout(AT_ONCE_SECONDS):
            assert await exchange.wire.chunk() == b"%d" % number
    await client.send(chunk(b""))
    assert await exchange.wire.chunk() == b""


async def test_an_upload_with_a_length_is_not_held_back_either(client: Wire, upstream: RawUpstream) -> None:
    await client.send(request("/api/blobs/x", b"1234").removesuffix(b"234"))
    async with asyncio.timeout(AT_ONCE_SECONDS):
        exchange = await upstream.next()
        assert await exchange.wire.exactly(1) == b"1"
    for digit in (b"2", b"3", b"4"):
        await client.send(digit)
        async with asyncio.timeout(AT_ONCE_SECONDS):
            assert await exchange.wire.exactly(1) == digit


async def test_both_directions_stream_at_the_same_time(client: Wire, upstream: RawUpstream) -> None:
    await client.send(
        b"POST /api/push HTTP/1.1\r\nHost: x\r\nX-Client: t\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"a")
    )
    exchange = await upstream.next()
    assert await exchange.wire.chunk() == b"a"
    await exchange.wire.send(CHUNKED_ANSWER)
    await client.head()
    for number in range(5):
        await exchange.wire.send(chunk(b"down%d" % number))
        assert await client.chunk() == b"down%d" % number
        await client.send(chunk(b"up%d" % number))
        assert await exchange.wire.chunk() == b"up%d" % number
    await client.send(chunk(b""))
    assert await exchange.wire.chunk() == b""
    await exchange.reply(chunk(b""))
    assert await client.chunk() == b""


async def test_an_answer_before_the_end_of_the_upload_passes_at_once(client: Wire, upstream: RawUpstream) -> None:
    await client.send(request("/api/blobs/x", b"x" * 100).removesuffix(b"x" * 50))
    exchange = await upstream.next()
    await exchange.reply(answer(b"too much", status="413 Too Large"))
    async with asyncio.timeout(AT_ONCE_SECONDS):
        head, body = await client.answer()
    assert (head.status, body) == (413, b"too much")
    await client.send(b"x" * 50 + request("/next"))
    exchange = await upstream.next()
    assert exchange.head.target == "/next"
    await exchange.reply(answer(b"sane"))
    assert (await client.answer())[1] == b"sane"


async def written_until_stuck(wire: Wire, piece: bytes, most: int) -> int:
    """Write until the other side takes no more for half a second; return how much it took."""
    written = 0
    while written < most:
        wire.writer.write(piece)
        try:
            async with asyncio.timeout(0.5):
                await wire.writer.drain()
        except TimeoutError:
            break
        written += len(piece)
    return written


async def test_a_slow_client_slows_the_upstream_down(proxy: Proxy, upstream: RawUpstream) -> None:
    client = await proxy.client(buffer_bytes=1024)
    await client.send(request("/api/generate", BODY))
    exchange = await upstream.next()
    await exchange.body()
    await exchange.wire.send(CHUNKED_ANSWER)
    await client.head()
    piece = chunk(b"x" * 2**16)
    taken = await written_until_stuck(exchange.wire, piece, 64 * MIB)
    assert taken < 32 * MIB  # socket buffers of both connections, some MiB on loopback
    received = 0
    while received < taken // len(piece) * 2**16:
        received += len(await client.chunk())


async def test_a_slow_upstream_slows_the_client_down(client: Wire, upstream: RawUpstream) -> None:
    await client.send(b"POST /api/blobs/x HTTP/1.1\r\nHost: x\r\nX-Client: t\r\nContent-Length: 99999999999\r\n\r\nx")
    await upstream.next()  # and reads no further
    assert await written_until_stuck(client, b"x" * 2**16, 64 * MIB) < 32 * MIB


async def test_a_pause_in_mid_answer_ends_nothing(proxy: Proxy, upstream: RawUpstream) -> None:
    """No total timeout, none between two tokens: 3 s of silence before the head and, beside it, within the body."""
    early, late = await proxy.client(), await proxy.client()
    await early.send(request("/api/chat", BODY))
    first = await upstream.next()
    await late.send(request("/v1/chat/completions", BODY))
    second = await upstream.next()
    await second.body()
    await second.wire.send(CHUNKED_ANSWER + chunk(b"a"))
    await late.head()
    await asyncio.sleep(3)
    await first.wire.send(answer(b"at last"))
    await second.wire.send(chunk(b"b") + chunk(b""))
    assert (await early.answer())[1] == b"at last"
    assert [content async for content in late.chunks()] == [b"a", b"b"]


async def test_a_pause_longer_than_the_connect_timeout_ends_nothing(
    upstream: RawUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(upstream.url, upstream={"connect_timeout": "200ms"})
    client = await proxy.client()
    await client.send(request("/api/blobs/x", b"ab").removesuffix(b"b"))
    exchange = await upstream.next()
    await asyncio.sleep(0.5)
    await client.send(b"b")
    assert await exchange.body() == b"ab"
    await asyncio.sleep(0.5)
    await exchange.reply(answer(b"done"))
    assert (await client.answer())[1] == b"done"
