"""Who leaves: a client frees the upstream at once, an upstream that breaks off never looks like a clean end."""

from __future__ import annotations

import asyncio
import gc
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from proxy.server.client_connection import ClientConnection
from tests.integration.raw_http import CHUNKED_ANSWER, Wire, answer, chunk, request, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.integration.conftest import Proxy
    from tests.integration.raw_upstream import Exchange, RawUpstream

ENDPOINTS = ["/api/tags", "/api/chat", "/v1/messages"]
BODY = b'{"model":"warm","messages":[{}]}'
SOON_SECONDS = 0.1
LEAVE: dict[str, Callable[[Wire], None]] = {"closes": Wire.close, "resets": Wire.reset}


@pytest.fixture(params=LEAVE, ids=list(LEAVE))
def leave(request: pytest.FixtureRequest) -> Callable[[Wire], None]:
    return LEAVE[request.param]


@asynccontextmanager
async def writing_for_ever(wire: Wire, content: bytes, *, pause: float = 0.0) -> AsyncIterator[None]:
    async def write() -> None:
        with suppress(ConnectionError, RuntimeError):  # uvloop: the handler is closed
            while True:
                await wire.send(content)
                await asyncio.sleep(pause)

    writing = asyncio.create_task(write())
    yield
    writing.cancel()
    await asyncio.wait([writing])


async def is_freed(exchange: Exchange) -> None:
    async with asyncio.timeout(SOON_SECONDS):
        await exchange.wire.closed()
    exchange.done.set()


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_a_client_that_leaves_before_any_header_frees_the_upstream(
    client: Wire, upstream: RawUpstream, leave: Callable[[Wire], None], endpoint: str
) -> None:
    await client.send(request(endpoint, BODY))
    exchange = await upstream.next()
    await exchange.body()
    leave(client)
    await is_freed(exchange)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_a_client_that_leaves_in_a_silent_answer_frees_the_upstream(
    client: Wire, upstream: RawUpstream, leave: Callable[[Wire], None], endpoint: str
) -> None:
    await client.send(request(endpoint, BODY))
    exchange = await upstream.next()
    await exchange.body()
    await exchange.wire.send(CHUNKED_ANSWER + chunk(b"a"))
    await client.head()
    await client.chunk()
    leave(client)
    await is_freed(exchange)


async def test_a_client_that_leaves_while_the_upstream_writes_frees_it(
    client: Wire, upstream: RawUpstream, leave: Callable[[Wire], None]
) -> None:
    await client.send(request("/api/chat", BODY))
    exchange = await upstream.next()
    await exchange.body()
    await exchange.wire.send(CHUNKED_ANSWER)
    await client.head()

    async with writing_for_ever(exchange.wire, chunk(b"x" * 1000), pause=0.001):
        await client.chunk()
        leave(client)
        await is_freed(exchange)


async def test_a_slow_client_that_leaves_frees_the_upstream_that_it_held_up(
    proxy: Proxy, upstream: RawUpstream
) -> None:
    client = await proxy.client(buffer_bytes=1024)
    await client.send(request("/api/chat", BODY))
    exchange = await upstream.next()
    await exchange.body()
    await exchange.wire.send(CHUNKED_ANSWER)
    await client.head()

    async with writing_for_ever(exchange.wire, chunk(b"x" * 2**16)):
        await asyncio.sleep(0.3)  # all buffers on the way are full by then
        client.reset()
        await is_freed(exchange)


@pytest.mark.parametrize("head", ["Transfer-Encoding: chunked", "Content-Length: 1000"])
async def test_an_upload_that_breaks_off_never_looks_complete(
    client: Wire, upstream: RawUpstream, leave: Callable[[Wire], None], head: str
) -> None:
    first = chunk(b"half of it") if "chunked" in head else b"half of it"
    await client.send(f"POST /api/blobs/x HTTP/1.1\r\nHost: x\r\nX-Client: t\r\n{head}\r\n\r\n".encode() + first)
    exchange = await upstream.next()
    assert await exchange.wire.exactly(len(first)) == first
    leave(client)
    async with asyncio.timeout(SOON_SECONDS):
        with suppress(ConnectionError):
            assert await exchange.wire.rest() == b""  # above all no last chunk
    exchange.done.set()


async def test_a_body_that_breaks_off_or_is_malformed_is_not_forwarded_as_a_model_request(
    client: Wire, upstream: RawUpstream
) -> None:
    content = b"POST /api/chat HTTP/1.1\r\nHost: x\r\nX-Client: t\r\nTransfer-Encoding: chunked\r\n\r\n"
    await client.send(content + chunk(BODY) + b"not a size\r\n")
    assert (await client.head()).status == 400
    assert upstream.nothing_arrived()


async def test_a_malformed_upload_never_looks_complete(client: Wire, upstream: RawUpstream) -> None:
    content = b"POST /api/blobs/x HTTP/1.1\r\nHost: x\r\nX-Client: t\r\nTransfer-Encoding: chunked\r\n\r\n"
    await client.send(content + chunk(b"a"))
    exchange = await upstream.next()
    assert await exchange.wire.chunk() == b"a"
    await client.send(b"not a size\r\n")
    client.close()
    async with asyncio.timeout(SOON_SECONDS):
        with suppress(ConnectionError):
            assert await exchange.wire.rest() == b""
    exchange.done.set()


async def state(proxy: Proxy) -> dict[str, Any]:
    wire = await Wire.connect(proxy.admin_url)
    await wire.send(b"GET /state HTTP/1.1\r\nHost: x\r\n\r\n")
    _, body = await wire.answer()
    wire.close()
    found: dict[str, Any] = json.loads(body)
    return found


async def test_a_client_that_leaves_while_it_is_held_is_forgotten_and_its_load_goes_on(
    proxy: Proxy, client: Wire, upstream: RawUpstream, leave: Callable[[Wire], None]
) -> None:
    upstream.load_may_end.clear()
    await client.send(request("/api/chat", BODY.replace(b"warm", b"cold")))

    async def held(requests: int) -> bool:
        return bool((await state(proxy))["waiting"] == requests)

    await until(lambda: held(1), 1)
    leave(client)
    await until(lambda: held(0), SOON_SECONDS)
    upstream.load_may_end.set()
    other = await proxy.client()
    await other.send(request("/api/chat", BODY.replace(b"warm", b"cold")))
    exchange = await upstream.next()
    assert b'"cold"' in await exchange.body()
    await exchange.reply(answer(b"mine"))
    assert (await other.answer())[1] == b"mine"
    assert [path for path, _ in upstream.managed].count("/api/generate") == 1
    assert upstream.nothing_arrived()


async def test_a_client_that_leaves_while_facts_are_asked_for_leaves_no_trace(
    proxy: Proxy, client: Wire, upstream: RawUpstream
) -> None:
    may_answer = asyncio.Event()
    as_ollama = upstream.manage

    async def late(head: Any, body: Any, wire: Wire) -> bytes:
        if head.target == "/api/show":
            await may_answer.wait()
        return await as_ollama(head, body, wire)

    upstream.manage = late
    await client.send(request("/api/chat", BODY.replace(b"warm", b"cold")))
    await asyncio.sleep(0.05)
    client.reset()
    await asyncio.sleep(0.05)
    may_answer.set()
    await asyncio.sleep(0.05)
    assert (await state(proxy))["waiting"] == 0
    assert upstream.nothing_arrived()


BROKEN: dict[str, tuple[bytes, bytes]] = {
    "chunked-without-end": (CHUNKED_ANSWER, chunk(b"part")),
    "chunked-without-anything": (CHUNKED_ANSWER, b""),
    "in-mid-chunk": (CHUNKED_ANSWER, b"a\r\npart"),
    "length-short": (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b"part"),
}


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("content", BROKEN.values(), ids=list(BROKEN))
async def test_an_answer_that_breaks_off_is_never_a_clean_end(
    client: Wire, upstream: RawUpstream, endpoint: str, how: str, content: tuple[bytes, bytes]
) -> None:
    await client.send(request(endpoint, BODY))
    exchange = await upstream.next()
    await exchange.body()
    await exchange.wire.send(content[0])
    head = await client.head()
    assert head.status == 200
    await exchange.wire.send(content[1])
    getattr(exchange.wire, how)()
    exchange.done.set()
    async with asyncio.timeout(1):
        try:
            rest = await client.rest()
        except ConnectionError:
            return
    assert not rest.endswith(b"0\r\n\r\n")
    assert head.chunked or len(rest) < (head.length or 0)


async def test_an_answer_that_becomes_malformed_ends_and_not_cleanly(client: Wire, upstream: RawUpstream) -> None:
    await client.send(request("/api/chat", BODY))
    exchange = await upstream.next()
    await exchange.body()
    await exchange.wire.send(CHUNKED_ANSWER)
    await client.head()
    await exchange.wire.send(chunk(b"part") + b"no size\r\n")
    exchange.done.set()
    rest = b""
    async with asyncio.timeout(1):
        with suppress(ConnectionError):
            rest = await client.rest()
    assert not rest.endswith(b"0\r\n\r\n")


async def test_an_answer_that_breaks_off_is_no_clean_end_for_a_client_without_chunks(
    proxy: Proxy, upstream: RawUpstream
) -> None:
    """In HTTP/1.0 (nginx's default) the end of the connection is the end of the answer: only a reset tells."""
    client = await proxy.client()
    await client.send(b"GET /x HTTP/1.0\r\nX-Client: t\r\n\r\n")
    exchange = await upstream.next()
    await exchange.wire.send(CHUNKED_ANSWER + chunk(b"part"))
    await client.head()
    assert await client.exactly(4) == b"part"
    exchange.wire.reset()
    exchange.done.set()
    with pytest.raises(ConnectionResetError):
        await client.rest()


async def test_after_an_answer_that_broke_off_the_next_client_is_served(proxy: Proxy, upstream: RawUpstream) -> None:
    for content in BROKEN.values():
        client = await proxy.client()
        await client.send(request("/api/chat", BODY))
        exchange = await upstream.next()
        await exchange.body()
        await exchange.wire.send(b"".join(content))
        exchange.wire.close()
        exchange.done.set()
        await client.closed()
        client = await proxy.client()
        await client.send(request("/api/chat", BODY))
        exchange = await upstream.next()
        await exchange.body()
        await exchange.reply(answer(b"well"))
        assert (await client.answer())[1] == b"well"
    assert (await state(proxy))["waiting"] == 0


@pytest.mark.parametrize("answered", [True, False])
async def test_nothing_of_a_connection_that_is_over_waits_for_the_garbage_collector(
    client: Wire, upstream: RawUpstream, leave: Callable[[Wire], None], *, answered: bool
) -> None:
    """Thousands of them did, until it looked through everything once more."""
    gc.collect()
    gc.disable()
    try:
        await client.send(request("/api/chat", BODY))
        exchange = await upstream.next()
        if answered:
            await exchange.wire.send(answer(b"{}"))
            await client.answer()
        leave(client)
        exchange.done.set()
        await until(no_connection_is_left, 2)
    finally:
        gc.enable()


async def no_connection_is_left() -> bool:
    return not any(isinstance(each, ClientConnection) for each in gc.get_objects())
