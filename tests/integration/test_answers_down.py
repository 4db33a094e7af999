"""Every answer reaches the client as the upstream gave it: status, headers, framing, body."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from tests.integration.raw_http import CHUNKED_ANSWER, answer, chunk, request

if TYPE_CHECKING:
    from tests.integration.conftest import Proxy
    from tests.integration.raw_http import Head, Wire
    from tests.integration.raw_upstream import RawUpstream

CONNECTION_HEADERS = {"date", "server", "connection"}  # ours where the upstream has none


async def came_down(client: Wire, upstream: RawUpstream, content: bytes, method: str = "GET") -> Head:
    """Send a request, let the upstream answer with these bytes, and return the head that the client gets."""
    await client.send(request("/x", method=method))
    await (await upstream.next()).reply(content)
    return await client.head()


async def works(client: Wire, upstream: RawUpstream) -> bool:
    """Tell whether the client's connection is where it should be after an answer."""
    head = await came_down(client, upstream, answer(b"next"))
    return head.status == 200 and await client.body(head) == b"next"


@pytest.mark.parametrize(
    "status",
    ["200 OK", "201 Created", "299 Odd", "400 Bad Request", "404 not found", "418 I'm a teapot", "503 ", "599 X"],
)
@pytest.mark.parametrize("body", [b"", b"what happened"])
async def test_a_status_passes_with_its_reason_and_body(
    client: Wire, upstream: RawUpstream, status: str, body: bytes
) -> None:
    head = await came_down(client, upstream, answer(body, status=status))
    assert head.start.removeprefix("HTTP/1.1 ") == status
    assert head.length == len(body)
    assert await client.body(head) == body
    assert await works(client, upstream)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_a_redirect_is_the_clients_to_follow(client: Wire, upstream: RawUpstream, status: str) -> None:
    head = await came_down(client, upstream, answer(b"there", "Location: /elsewhere?a=%20", status=status))
    assert head.start == f"HTTP/1.1 {status}"
    assert head.all("location") == ["/elsewhere?a=%20"]
    assert await client.body(head) == b"there"
    assert upstream.nothing_arrived()


async def test_headers_pass_and_repeated_ones_stay_in_order(client: Wire, upstream: RawUpstream) -> None:
    lines = [
        "Content-Type: application/json; charset=utf-8",
        "Set-Cookie: a=1; HttpOnly",
        "X-Twice: 1",
        "Set-Cookie: b=2",
        "X-Twice: 2",
        "X-Empty:",
        "Access-Control-Allow-Origin: *",
        "Server: ollama",
        "Date: Sun, 06 Nov 1994 08:49:37 GMT",
        "WWW-Authenticate: Bearer",
        "X-Name: \xc3\xbc",  # as UTF-8
    ]
    head = await came_down(client, upstream, answer(b"{}", *lines))
    pairs = [tuple(part.strip() for part in line.split(":", 1)) for line in lines]
    assert [pair for pair in head.headers if pair[0] != "Content-Length"] == pairs


async def test_headers_of_the_upstreams_connection_do_not_pass(client: Wire, upstream: RawUpstream) -> None:
    lines = [
        "Connection: keep-alive, X-Hop",
        "Keep-Alive: timeout=5",
        "X-Hop: 1",
        "Proxy-Authenticate: Basic",
        "X-End: 1",
    ]
    head = await came_down(client, upstream, answer(b"{}", *lines))
    assert head.names() - CONNECTION_HEADERS - {"content-type"} == {"content-length", "x-end"}
    assert "x-hop" not in head.names()


async def test_a_compressed_answer_is_not_unpacked(client: Wire, upstream: RawUpstream) -> None:
    packed = gzip.compress(b"hello" * 100)
    head = await came_down(client, upstream, answer(packed, "Content-Encoding: gzip"))
    assert head.all("content-encoding") == ["gzip"]
    assert head.length == len(packed)
    assert await client.body(head) == packed


async def test_what_only_calls_itself_compressed_passes_too(client: Wire, upstream: RawUpstream) -> None:
    head = await came_down(client, upstream, answer(b"not gzip", "Content-Encoding: gzip"))
    assert await client.body(head) == b"not gzip"
    assert await works(client, upstream)


@pytest.mark.parametrize("lines", [["Content-Length: 1234"], ["Transfer-Encoding: chunked"], []])
async def test_an_answer_to_head_has_no_body_and_keeps_its_length(
    client: Wire, upstream: RawUpstream, lines: list[str]
) -> None:
    content = "\r\n".join(["HTTP/1.1 200 OK", *lines, "X-End: 1"]).encode() + b"\r\n\r\n"
    head = await came_down(client, upstream, content, method="HEAD")
    assert head.all("content-length") == (["1234"] if "Content-Length: 1234" in lines else [])
    assert head.all("x-end") == ["1"]
    assert await works(client, upstream)


@pytest.mark.parametrize(
    "content", [b"HTTP/1.1 204 No Content\r\nX-End: 1\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\nETag: a\r\n\r\n"]
)
async def test_a_status_without_a_body_has_none(client: Wire, upstream: RawUpstream, content: bytes) -> None:
    head = await came_down(client, upstream, content)
    assert head.names() & {"transfer-encoding", "content-length"} == set()
    assert await works(client, upstream)


async def test_an_interim_answer_is_not_the_answer(client: Wire, upstream: RawUpstream) -> None:
    head = await came_down(client, upstream, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + answer(b"real"))
    if head.status == 103:
        head = await client.head()
    assert head.status == 200
    assert await client.body(head) == b"real"


async def test_a_body_with_a_length_keeps_its_length(client: Wire, upstream: RawUpstream) -> None:
    body = bytes(range(256)) * 2000
    head = await came_down(client, upstream, answer(body))
    assert (head.length, head.chunked) == (len(body), False)
    assert await client.body(head) == body


async def test_a_chunked_body_stays_chunked(client: Wire, upstream: RawUpstream) -> None:
    framed = chunk(b"one") + chunk(b"\r\n0\r\n\r\n") + chunk(b"")
    head = await came_down(client, upstream, CHUNKED_ANSWER + framed)
    assert (head.length, head.chunked) == (None, True)
    assert [content async for content in client.chunks()] == [b"one", b"\r\n0\r\n\r\n"]
    assert await works(client, upstream)


async def test_a_body_that_ends_with_the_upstreams_connection_is_whole(client: Wire, upstream: RawUpstream) -> None:
    await client.send(request("/x", method="GET"))
    exchange = await upstream.next()
    await exchange.wire.send(b"HTTP/1.0 200 OK\r\nX-End: 1\r\n\r\nall of it")
    exchange.wire.close()
    head, body = await client.answer()
    assert head.all("x-end") == ["1"]
    assert body == b"all of it"


async def test_the_client_stays_connected_when_the_upstream_does_not(client: Wire, upstream: RawUpstream) -> None:
    await client.send(request("/x", method="GET"))
    exchange = await upstream.next()
    await exchange.wire.send(answer(b"bye", "Connection: close"))
    exchange.wire.close()
    exchange.done.set()
    head, body = await client.answer()
    assert body == b"bye"
    assert head.all("connection") == []
    assert await works(client, upstream)


async def test_a_client_of_http_1_0_gets_no_chunks(proxy: Proxy, upstream: RawUpstream) -> None:
    client = await proxy.client()
    await client.send(b"GET /x HTTP/1.0\r\nX-Client: t\r\n\r\n")
    await (await upstream.next()).reply(CHUNKED_ANSWER + chunk(b"one") + chunk(b"two") + chunk(b""))
    head = await client.head()
    assert "transfer-encoding" not in head.names()
    assert await client.rest() == b"onetwo"


@pytest.mark.parametrize("endpoint", ["/api/generate", "/v1/chat/completions"])
async def test_the_answer_to_a_model_request_passes_byte_for_byte(
    client: Wire, upstream: RawUpstream, endpoint: str
) -> None:
    pieces = [b'{"response":"\xff\\ud83d"}\n', b"\n\n", b"data: [DONE]\n\n", b'{"done":true,"eval_count":3}\n']
    await client.send(request(endpoint, b'{"model":"warm","prompt":"hi"}'))
    exchange = await upstream.next()
    await exchange.body()
    await exchange.reply(CHUNKED_ANSWER + b"".join(map(chunk, pieces)) + chunk(b""))
    head = await client.head()
    assert head.all("content-type") == ["application/x-ndjson"]
    assert [content async for content in client.chunks()] == pieces


@pytest.mark.parametrize("endpoint", ["/api/generate", "/v1/messages"])
async def test_ollamas_own_error_reaches_the_client(client: Wire, upstream: RawUpstream, endpoint: str) -> None:
    await client.send(request(endpoint, b'{"model":"nobody","prompt":"hi"}'))
    exchange = await upstream.next()
    assert await exchange.body() == b'{"model":"nobody","prompt":"hi"}'
    await exchange.reply(
        answer(b'{"error":"model not found"}', "Content-Type: application/json", status="404 Not Found")
    )
    head, body = await client.answer()
    assert (head.status, body) == (404, b'{"error":"model not found"}')
