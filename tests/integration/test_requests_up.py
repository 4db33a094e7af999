"""Every request reaches the upstream as it came: method, target, headers, body."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING

import pytest

from tests.integration.raw_http import answer, chunk, request
from tests.integration.raw_upstream import raw_upstream

if TYPE_CHECKING:
    from tests.integration.raw_http import Head, Wire
    from tests.integration.raw_upstream import RawUpstream

TARGETS = [
    "/",
    "/api/tags",
    "/api/nobody/knows/this",
    "/api/blobs/sha256:0123",
    "//",
    "//api//chat",
    "/api/chat/",
    "/a%2Fb%2f%20%25%00",
    "/a/../b/./c/..",
    "/%2e%2E/x",
    "/%C3%A9/%E2%82%AC",
    "/%zz/%",
    "/a;b=c;d",
    "/a:b@c,d!$&'()*+=~",
    "/?",
    "/api/tags?",
    "/x?a=b&&c",
    "/x?a=b&a=c&=&b",
    "/x?;y;z=1",
    "/x??b=?/",
    "/x?q=%41+%2B%20&r=%ff",
    "/x?next=http://other.example/?a#",
    '/x?a="b"&c={d}|[e]^`\\',
    "/" + "long/" * 1500,
]


async def sent_up(client: Wire, upstream: RawUpstream, content: bytes) -> tuple[Head, bytes]:
    await client.send(content)
    exchange = await upstream.next()
    body = await exchange.body()
    await exchange.reply(answer(b"{}"))
    await client.answer()
    return exchange.head, body


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target[:30])
async def test_a_target_arrives_as_it_was_written(client: Wire, upstream: RawUpstream, target: str) -> None:
    for method in ("GET", "POST"):
        head, _ = await sent_up(client, upstream, request(target, method=method))
        assert head.start == f"{method} {target} HTTP/1.1"


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "QUERY"])
@pytest.mark.parametrize("body", [b"", b"some body"])
async def test_a_method_arrives_with_its_body(client: Wire, upstream: RawUpstream, method: str, body: bytes) -> None:
    head, content = await sent_up(client, upstream, request("/x", body, method=method))
    assert head.start == f"{method} /x HTTP/1.1"
    assert content == body


async def test_a_target_in_the_form_for_proxies_reaches_its_path(client: Wire, upstream: RawUpstream) -> None:
    """RFC 9112 3.2.2: a server must accept the absolute form."""
    content = b"GET http://keepwarm:11435/api/tags?x=1 HTTP/1.1\r\nHost: keepwarm:11435\r\nX-Client: t\r\n\r\n"
    head, _ = await sent_up(client, upstream, content)
    assert head.target in {"/api/tags?x=1", "http://keepwarm:11435/api/tags?x=1"}


async def test_options_for_the_whole_server_arrive(client: Wire, upstream: RawUpstream) -> None:
    head, _ = await sent_up(client, upstream, request("*", method="OPTIONS"))
    assert head.target == "*"


async def test_nothing_is_added_to_the_headers_and_the_host_is_the_upstreams(
    client: Wire, upstream: RawUpstream
) -> None:
    head, _ = await sent_up(client, upstream, request("/api/tags", method="GET"))
    assert set(head.headers) == {("Host", upstream.url.removeprefix("http://")), ("X-Client", "test")}


async def test_nothing_is_added_to_the_headers_of_a_model_request(client: Wire, upstream: RawUpstream) -> None:
    head, body = await sent_up(client, upstream, request("/api/chat", b'{"model":"warm"}', "X-More: 1"))
    assert {name: value for name, value in head.headers if name != "Host"} == {
        "X-Client": "test",
        "X-More": "1",
        "Content-Length": str(len(body)),
    }
    assert head.all("host") == [upstream.url.removeprefix("http://")]


async def test_end_to_end_headers_pass_and_repeated_ones_stay_in_order(client: Wire, upstream: RawUpstream) -> None:
    headers = [
        "Origin: http://evil.example",
        "Authorization: Bearer sk-1",
        "Cookie: a=1; b=2",
        "Cookie: c=3",
        "Accept: text/event-stream",
        "accept-ENCODING: gzip, br",
        "User-Agent: ollama-python/0.4",
        "X-Twice: 1",
        "X-Between: x",
        "X-Twice: 2",
        "x-twice: 1",
        "X-Empty:",
        "Via: 1.1 nginx",
        "X-Forwarded-For: 1.2.3.4",
        "Content-Type: application/json; charset=utf-8",
    ]
    for target in ("/x", "/api/chat", "/v1/chat/completions"):
        head, _ = await sent_up(client, upstream, request(target, b'{"model":"warm"}', *headers))
        pairs = (line.split(":", 1) for line in headers)
        sent = [(name.lower(), value.strip()) for name, value in pairs]
        own = {"host", "content-length", "x-client"}
        assert [(name.lower(), value) for name, value in head.headers if name.lower() not in own] == sent


async def test_headers_of_the_clients_connection_do_not_pass(client: Wire, upstream: RawUpstream) -> None:
    headers = [
        "Connection: keep-alive, X-Hop",
        "Connection: x-other",
        "Keep-Alive: timeout=5",
        "X-Hop: 1",
        "X-Other: 2",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic eA==",
        "TE: trailers",
        "Trailer: X-After",
    ]
    for target in ("/x", "/api/chat"):
        head, _ = await sent_up(client, upstream, request(target, b'{"model":"warm"}', *headers))
        assert head.names() == {"host", "x-client", "content-length"}


@pytest.mark.parametrize("target", ["/api/chat", "/api/blobs/sha256:1", "/v1/chat/completions"])
async def test_a_client_that_offers_another_protocol_is_served_in_this_one(
    client: Wire, upstream: RawUpstream, target: str
) -> None:
    """Java's HttpClient offers h2c with every request."""
    offer = [
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
    ]
    body = b'{"model":"warm","prompt":"hi"}'
    head, content = await sent_up(client, upstream, request(target, body, *offer))
    assert head.names() == {"host", "x-client", "content-length"}
    assert content.startswith(body[:-1])


async def test_a_cookie_that_the_upstream_sets_is_nobody_elses(client: Wire, upstream: RawUpstream) -> None:
    await client.send(request("/login"))
    await (await upstream.next()).reply(answer(b"", "Set-Cookie: s=1; Path=/", "Set-Cookie: t=2"))
    head, _ = await client.answer()
    assert head.all("set-cookie") == ["s=1; Path=/", "t=2"]
    head, _ = await sent_up(client, upstream, request("/x", method="GET"))
    assert "cookie" not in head.names()


async def test_a_compressed_body_is_not_unpacked(client: Wire, upstream: RawUpstream) -> None:
    body = gzip.compress(b'{"model":"warm","messages":[]}')
    for target in ("/x", "/api/chat"):
        head, content = await sent_up(client, upstream, request(target, body, "Content-Encoding: gzip"))
        assert content == body
        assert head.all("content-encoding") == ["gzip"]


async def test_a_body_with_a_length_keeps_its_length(client: Wire, upstream: RawUpstream) -> None:
    head, body = await sent_up(client, upstream, request("/api/blobs/x", b"\x00\xff" * 50_000))
    assert (head.length, head.chunked) == (100_000, False)
    assert body == b"\x00\xff" * 50_000


async def test_a_chunked_body_stays_chunked(client: Wire, upstream: RawUpstream) -> None:
    framed = chunk(b"one") + chunk(b"\r\n0\r\n\r\n") + chunk(b"")
    content = b"POST /api/blobs/x HTTP/1.1\r\nHost: x\r\nX-Client: t\r\nTransfer-Encoding: chunked\r\n\r\n" + framed
    head, body = await sent_up(client, upstream, content)
    assert (head.length, head.chunked) == (None, True)
    assert body == b"one\r\n0\r\n\r\n"


async def test_a_chunked_model_request_arrives_with_one_framing(client: Wire, upstream: RawUpstream) -> None:
    framed = chunk(b'{"model":') + chunk(b'"warm","keep_alive":1}') + chunk(b"")
    content = b"POST /api/chat HTTP/1.1\r\nHost: x\r\nX-Client: t\r\nTransfer-Encoding: chunked\r\n\r\n" + framed
    head, body = await sent_up(client, upstream, content)
    assert (head.length is None) == head.chunked
    assert body.startswith(b'{"model":"warm","keep_alive":')


@pytest.mark.parametrize(
    "lines", ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Content-Length: 5\r\nContent-Length: 6"]
)
async def test_a_body_of_two_lengths_is_refused(client: Wire, upstream: RawUpstream, lines: str) -> None:
    """Where two servers read different ends, a client smuggles requests past the first one."""
    content = f"POST /api/blobs/x HTTP/1.1\r\nHost: x\r\nX-Client: t\r\n{lines}\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"
    await client.send(content.encode())
    assert (await client.head()).status == 400
    assert upstream.nothing_arrived()


@pytest.mark.parametrize("target", ["/api/chat", "/api/blobs/x"])
async def test_a_client_that_waits_for_100_continue_gets_it(client: Wire, upstream: RawUpstream, target: str) -> None:
    body = b'{"model":"warm"}'
    content = request(target, body, "Expect: 100-continue")
    await client.send(content.removesuffix(body))
    assert (await client.head()).start == "HTTP/1.1 100 Continue"
    await client.send(body)
    exchange = await upstream.next()
    assert (await exchange.body()).startswith(body[:-1])
    await exchange.reply(answer(b"done"))
    assert (await client.answer())[1] == b"done"


async def test_requests_that_were_sent_ahead_are_answered_in_order(client: Wire, upstream: RawUpstream) -> None:
    await client.send(request("/1", method="GET") + request("/2", b"two") + request("/api/chat", b'{"model":"warm"}'))
    for expected in ("/1", "/2", "/api/chat"):
        exchange = await upstream.next()
        assert exchange.head.target == expected
        await exchange.body()
        await exchange.reply(answer(expected.encode()))
        assert (await client.answer())[1] == expected.encode()


async def test_a_connection_to_the_upstream_is_used_again(client: Wire, upstream: RawUpstream) -> None:
    await sent_up(client, upstream, request("/x"))
    opened = upstream.connections
    for target in ("/a", "/api/chat", "/b"):
        await sent_up(client, upstream, request(target, b'{"model":"warm"}'))
    assert upstream.connections == opened


@pytest.mark.parametrize(
    "target", ["*@{}/x", "@{}/x", "http://{}/x", "//{}/x", "/@{}/x", "/\\@{}/x", ":1@{}/x", "*?@{}/"]
)
async def test_no_target_leads_to_another_server(client: Wire, upstream: RawUpstream, target: str) -> None:
    async with raw_upstream() as other:
        await client.send(request(target.format(other.url.removeprefix("http://")), method="GET"))
        client_answers = asyncio.create_task(client.head())
        exchange = asyncio.create_task(upstream.next())
        await asyncio.wait([client_answers, exchange], return_when=asyncio.FIRST_COMPLETED)
        assert other.connections == 0
        if exchange.done():
            await exchange.result().reply(answer())
        assert (await client_answers).status in {200, 400}
        exchange.cancel()
