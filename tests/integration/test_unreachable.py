"""An upstream that is not there or does not do its part: the client hears it soon, the next request tries again."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.integration.raw_http import Wire, answer, request, until
from tests.integration.raw_upstream import raw_upstream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tests.integration.conftest import Proxy, StartProxy
    from tests.integration.raw_upstream import Manage, RawUpstream

BODY = b'{"model":"warm","messages":[{}]}'


def message(path: str, body: bytes) -> str:
    """Return the text of an error in the shape of the API that was called; anything else fails."""
    error = json.loads(body)
    text: str
    if path.startswith("/v1/messages"):
        assert error.keys() == {"type", "error"}
        assert error["type"] == "error"
        assert error["error"].keys() == {"type", "message"}
        text = error["error"]["message"]
    elif path.startswith("/v1/"):
        assert error["error"].keys() >= {"message", "type"}
        text = error["error"]["message"]
    else:
        assert error.keys() == {"error"}
        text = error["error"]
    return text


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


@pytest.fixture
def black_hole() -> Iterator[str]:
    """An address where connecting neither succeeds nor fails: a full queue of connections that nobody accepts."""
    with closing(socket.socket()) as listener, closing(socket.socket()) as first, closing(socket.socket()) as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for filler in (first, second):
            filler.setblocking(False)  # noqa: FBT003 - as the standard library has it
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("path", ["/api/tags", "/api/chat", "/v1/chat/completions", "/v1/models", "/v1/messages"])
async def test_nobody_there_is_a_502_that_names_upstream_and_reason(
    start_proxy: StartProxy, unused_port: int, path: str
) -> None:
    proxy = await start_proxy(f"http://127.0.0.1:{unused_port}")
    client = await proxy.client()
    await client.send(request(path, BODY))
    head, body = await client.answer()
    assert head.status == 502
    assert head.all("content-type") == ["application/json"]
    text = message(path, body)
    assert f"127.0.0.1:{unused_port}" in text
    assert "onnect" in text  # refused, or cannot connect


async def test_as_soon_as_the_upstream_is_back_requests_are_answered(start_proxy: StartProxy, unused_port: int) -> None:
    proxy = await start_proxy(f"http://127.0.0.1:{unused_port}")
    for path in ("/api/tags", "/api/chat"):
        client = await proxy.client()
        await client.send(request(path, BODY))
        assert (await client.answer())[0].status == 502
    async with raw_upstream(unused_port) as upstream:
        for path in ("/api/tags", "/api/chat"):
            client = await proxy.client()
            await client.send(request(path, BODY))
            exchange = await upstream.next()
            await exchange.body()
            await exchange.reply(answer(b"back"))
            assert (await client.answer())[1] == b"back"


async def test_an_upstream_that_starts_anew_between_two_requests_is_no_error(
    start_proxy: StartProxy, unused_port: int
) -> None:
    """Its old connections are dead, and the proxy's pool must know."""
    async with raw_upstream(unused_port) as upstream:
        proxy = await start_proxy(upstream.url)
        await served(await proxy.client(), upstream)
    async with raw_upstream(unused_port) as upstream:
        await served(await proxy.client(), upstream)


async def served(client: Wire, upstream: RawUpstream) -> None:
    await client.send(request("/api/chat", BODY))
    exchange = await upstream.next()
    await exchange.body()
    await exchange.reply(answer(b"ok"))
    assert (await client.answer())[1] == b"ok"


@pytest.mark.parametrize("path", ["/api/tags", "/api/chat", "/v1/messages"])
async def test_an_upstream_that_does_not_accept_is_a_502_within_the_connect_timeout(
    start_proxy: StartProxy, black_hole: str, path: str
) -> None:
    proxy = await start_proxy(black_hole, upstream={"connect_timeout": "500ms"})
    client = await proxy.client()
    began = time.monotonic()
    await client.send(request(path, BODY))
    head, body = await client.answer()
    assert head.status == 502
    assert black_hole in message(path, body)
    assert time.monotonic() - began < 0.8


@pytest.mark.parametrize("path", ["/api/tags", "/api/chat", "/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_an_upstream_that_hangs_up_before_it_answers_is_a_502(
    client: Wire, upstream: RawUpstream, path: str, how: str
) -> None:
    await client.send(request(path, BODY))
    exchange = await upstream.next()
    await exchange.body()
    getattr(exchange.wire, how)()
    exchange.done.set()
    head, body = await client.answer()
    assert head.status == 502
    assert upstream.url.removeprefix("http://") in message(path, body)


@pytest.mark.parametrize("path", ["/api/tags", "/v1/messages"])
@pytest.mark.parametrize(
    "content", [b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n"]
)
async def test_an_upstream_that_speaks_no_http_is_a_502(
    client: Wire, upstream: RawUpstream, path: str, content: bytes
) -> None:
    await client.send(request(path, BODY))
    exchange = await upstream.next()
    await exchange.body()
    await exchange.wire.send(content)
    head, body = await client.answer()
    assert head.status == 502
    assert message(path, body)
    exchange.done.set()


async def test_a_request_that_cannot_be_repeated_is_not_sent_twice(
    proxy: Proxy, client: Wire, upstream: RawUpstream
) -> None:
    for method, path in (("POST", "/api/chat"), ("POST", "/api/create"), ("PUT", "/api/blobs/x")):
        await served(await proxy.client(), upstream)  # from now on there is a connection to use again
        client = await proxy.client()
        await client.send(request(path, BODY, method=method))
        exchange = await upstream.next()
        await exchange.body()
        exchange.wire.close()
        exchange.done.set()
        assert (await client.head()).status == 502
        assert upstream.nothing_arrived()


async def silence(*_: object) -> bytes:
    never: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    return await never


async def hang_up(_: object, __: object, wire: Wire) -> bytes:
    wire.reset()
    raise ConnectionResetError


def always(content: bytes) -> Manage:
    async def manage(*_: object) -> bytes:
        return content

    return manage


GARBAGE = always(answer(b"\xff<html>[[[["))
OF_ANOTHER_KIND = always(answer(b'["not", {"what": "was asked for"}]'))
FAILURE = always(answer(b'{"error":"on fire"}', status="500 Internal Server Error"))


@pytest.mark.parametrize("manage", [GARBAGE, OF_ANOTHER_KIND, FAILURE, hang_up])
@pytest.mark.parametrize("path", ["/api/chat", "/v1/messages"])
async def test_management_that_fails_is_not_why_a_request_fails(
    upstream: RawUpstream, start_proxy: StartProxy, manage: Manage, path: str
) -> None:
    upstream.manage = manage
    proxy = await start_proxy(upstream.url)
    client = await proxy.client()
    for body in (BODY, BODY.replace(b"warm", b"cold")):
        await client.send(request(path, body))
        exchange = await upstream.next()
        assert await exchange.body() == body  # as it came
        await exchange.reply(answer(b"fine"))
        assert (await client.answer())[1] == b"fine"


async def test_management_that_never_answers_holds_a_request_up_for_some_seconds_only(
    client: Wire, upstream: RawUpstream
) -> None:
    upstream.manage = silence
    await client.send(request("/api/chat", BODY.replace(b"warm", b"cold")))
    await until(something_arrived(upstream), 6)
    exchange = await upstream.next()
    await exchange.body()
    await exchange.reply(answer(b"fine"))
    assert (await client.answer())[1] == b"fine"


async def test_residents_are_known_again_when_ps_makes_sense_again(
    upstream: RawUpstream, start_proxy: StartProxy
) -> None:
    as_ollama, upstream.manage = upstream.manage, GARBAGE
    proxy = await start_proxy(upstream.url, residency={"poll": "100ms"})
    await until(readiness_is(proxy, 503), 2)
    upstream.manage = as_ollama
    await until(readiness_is(proxy, 200), 2)
    upstream.manage = OF_ANOTHER_KIND
    await until(readiness_is(proxy, 503), 2)


def something_arrived(upstream: RawUpstream) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return not upstream.nothing_arrived()

    return check


def readiness_is(proxy: Proxy, status: int) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        wire = await Wire.connect(proxy.admin_url)
        await wire.send(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _ = await wire.answer()
        wire.close()
        return head.status == status

    return check
