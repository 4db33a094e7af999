"""What is odd but means one thing only is served, and the upstream receives it in the one form that all agree on."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from tests.integration.raw_http import chunk
from tests.integration.recorder import Recorder, recorder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.conftest import Proxy, StartProxy

LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
LAST_UP = b"GET /last HTTP/1.1\r\n\r\n"
BODY = b'{"model":"nobody"}'


def of(start: bytes, *lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([start, b"Host: x", *lines, b"", b""]) + body


def up(start: bytes, *lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([start, *lines, b"", b""]) + body


GET = b"GET /x HTTP/1.1"
POST = b"POST /x HTTP/1.1"
CHAT = b"POST /api/chat HTTP/1.1"

KEPT_OPEN = {
    "an-empty-line-before": (b"\r\n" + of(GET), up(GET)),
    "two-spaces-in-the-first-line": (of(b"GET  /x  HTTP/1.1"), up(GET)),
    "an-absolute-target": (of(b"GET http://other:1/x?y HTTP/1.1"), up(b"GET /x?y HTTP/1.1")),
    "an-absolute-target-in-capitals": (of(b"GET HTTPS://other/x HTTP/1.1"), up(GET)),
    "an-absolute-target-with-a-user": (of(b"GET http://a:b@other/x HTTP/1.1"), up(GET)),
    "an-absolute-target-without-path": (of(b"GET http://other HTTP/1.1"), up(b"GET / HTTP/1.1")),
    "an-absolute-target-that-is-a-query": (of(b"GET http://other?a=/b HTTP/1.1"), up(b"GET /?a=/b HTTP/1.1")),
    "a-star": (of(b"OPTIONS * HTTP/1.1"), up(b"OPTIONS * HTTP/1.1")),
    "a-length-with-zeros": (
        of(POST, b"Content-Length: 0005", body=b"hello"),
        up(POST, b"Content-Length: 0005", body=b"hello"),
    ),
    "white-space-around-a-length": (
        of(POST, b"Content-Length: \t 5 \t ", body=b"hello"),
        up(POST, b"Content-Length: 5", body=b"hello"),
    ),
    "a-body-of-get": (
        of(GET, b"Content-Length: 5", body=b"hello"),
        up(GET, b"Content-Length: 5", body=b"hello"),
    ),
    "no-body": (of(POST, b"Content-Length: 0"), up(POST, b"Content-Length: 0")),
    "a-post-without-length": (of(POST), up(POST)),
    "an-underscore-is-no-hyphen": (of(GET, b"Transfer_Encoding: chunked"), up(GET, b"Transfer_Encoding: chunked")),
    "a-length-that-belongs-to-the-connection": (
        of(POST, b"Connection: Content-Length", b"Content-Length: 5", body=b"hello"),
        up(POST, b"Transfer-Encoding: chunked", body=chunk(b"hello") + chunk(b"")),
    ),
    "headers-that-belong-to-the-connection": (
        of(GET, b"Connection: host, X-A", b"X-A: 1", b"Authorization: k"),
        up(GET, b"Authorization: k"),
    ),
    "utf-8-in-a-value": (of(GET, b"X-A: \xc3\xbc"), up(GET, b"X-A: \xc3\xbc")),
    "latin-1-in-a-value": (of(GET, b"X-A: a\xfc\x85b"), up(GET, b"X-A: a\xfc\x85b")),
    "a-tab-in-a-value": (of(GET, b"X-A: a\tb"), up(GET, b"X-A: a\tb")),
    "white-space-around-a-value": (of(GET, b"X-A: \t a b \t"), up(GET, b"X-A: a b")),
    "no-space-behind-the-colon": (of(GET, b"X-A:b:c"), up(GET, b"X-A: b:c")),
    "all-signs-of-a-token-in-a-name": (of(GET, b"!#$%&'*+-.^_`|~09aZ: 1"), up(GET, b"!#$%&'*+-.^_`|~09aZ: 1")),
    "a-header-twice": (of(GET, b"X-A: 1", b"x-a: 2", b"X-A: 1"), up(GET, b"X-A: 1", b"x-a: 2", b"X-A: 1")),
    "a-value-of-65000-bytes": (of(GET, b"X-A: " + b"a" * 65_000), up(GET, b"X-A: " + b"a" * 65_000)),
    "a-target-of-65000-bytes": (
        of(b"GET /" + b"a" * 65_000 + b" HTTP/1.1"),
        up(b"GET /" + b"a" * 65_000 + b" HTTP/1.1"),
    ),
    "120-headers": (of(GET, *[b"X-A: 1"] * 120), up(GET, *[b"X-A: 1"] * 120)),
    "an-expectation-of-nothing": (of(GET, b"Expect:"), up(GET)),
    "an-upgrade-without-connection": (of(GET, b"Upgrade: h2c"), up(GET)),
}

CHUNKED = b"Transfer-Encoding: chunked"
WHOLE = chunk(b"hello") + chunk(b"")
CLOSED = {
    "chunks": (of(POST, CHUNKED, body=WHOLE), up(POST, CHUNKED, body=WHOLE)),
    "chunks-in-capitals": (of(POST, b"Transfer-Encoding: Chunked", body=WHOLE), up(POST, CHUNKED, body=WHOLE)),
    "zeros-before-a-size": (of(POST, CHUNKED, body=b"0005\r\nhello\r\n000\r\n\r\n"), up(POST, CHUNKED, body=WHOLE)),
    "extensions": (of(POST, CHUNKED, body=b'5;a=b;c="d"\r\nhello\r\n0;e\r\n\r\n'), up(POST, CHUNKED, body=WHOLE)),
    "trailers": (
        of(POST, CHUNKED, body=b"5\r\nhello\r\n0\r\nX-A: 1\r\nAuthorization: k\r\n\r\n"),
        up(POST, CHUNKED, body=WHOLE),
    ),
    "a-trailer-without-value": (
        of(POST, CHUNKED, body=b"5\r\nhello\r\n0\r\nX-A:\r\n\r\n"),
        up(POST, CHUNKED, body=WHOLE),
    ),
    "no-chunks": (of(POST, CHUNKED, body=chunk(b"")), up(POST)),
    "chunks-of-a-model-request": (
        of(CHAT, CHUNKED, body=chunk(BODY[:5]) + chunk(BODY[5:]) + b"0\r\nX-A: 1\r\n\r\n"),
        up(CHAT, b"Content-Length: 18", body=BODY),
    ),
    "an-upgrade-to-http-2": (
        of(GET, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAM"),
        up(GET),
    ),
    "an-upgrade-to-websocket": (
        of(GET, b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"),
        up(GET, b"Sec-WebSocket-Version: 13"),
    ),
    "http-1.0": (of(b"GET /x HTTP/1.0"), up(GET)),
    "http-1.0-without-host": (b"GET /x HTTP/1.0\r\n\r\n", up(GET)),
    "http-1.0-with-a-body": (
        of(b"POST /x HTTP/1.0", b"Content-Length: 5", body=b"hello"),
        up(POST, b"Content-Length: 5", body=b"hello"),
    ),
    "http-1.0-that-expects-what-it-does-not-know": (
        of(b"POST /x HTTP/1.0", b"Expect: 100-continue", b"Content-Length: 5", body=b"hello"),
        up(POST, b"Content-Length: 5", body=b"hello"),
    ),
    "the-last-request": (of(GET, b"Connection: close"), up(GET)),
}


@pytest.fixture
async def upstream() -> AsyncIterator[Recorder]:
    async with recorder() as running:
        yield running


@pytest.fixture
async def proxy(upstream: Recorder, start_proxy: StartProxy) -> Proxy:
    return await start_proxy(upstream.url)


async def answered(proxy: Proxy, *pieces: bytes) -> bytes:
    """Send this piece by piece and return all that comes until the proxy closes."""
    client = await proxy.client()
    for piece in pieces:
        await client.send(piece)
        await asyncio.sleep(0.002)  # so that it comes in a read of its own
    return await client.rest()


def statuses(content: bytes) -> list[bytes]:
    return re.findall(rb"HTTP/\d\.\d (\d{3}) ", content)


@pytest.mark.parametrize(("content", "expected"), KEPT_OPEN.values(), ids=list(KEPT_OPEN))
async def test_an_odd_request_arrives_in_plain_form_and_the_next_one_behind_it(
    proxy: Proxy, upstream: Recorder, content: bytes, expected: bytes
) -> None:
    for pieces in ([content + LAST], [content, LAST], [content[:-7], content[-7:], LAST]):
        upstream.forget()
        answers = await answered(proxy, *pieces)
        assert upstream.content == expected + LAST_UP
        assert statuses(answers) == [b"200", b"200"]
        assert len(upstream.requests) == 2
    assert upstream.problems == []


@pytest.mark.parametrize(("content", "expected"), CLOSED.values(), ids=list(CLOSED))
async def test_behind_what_loses_the_place_of_the_next_request_the_connection_is_closed(
    proxy: Proxy, upstream: Recorder, content: bytes, expected: bytes
) -> None:
    for pieces in ([content], [content[:-7], content[-7:]]):
        upstream.forget()
        answers = await answered(proxy, *pieces)
        assert statuses(answers) == [b"200"]
        assert upstream.content == expected
    assert upstream.problems == []


@pytest.mark.parametrize("name", ["trailers", "a-trailer-without-value", "chunks", "an-upgrade-to-http-2"])
async def test_what_was_sent_behind_it_is_never_taken_for_a_part_of_it(
    proxy: Proxy, upstream: Recorder, name: str
) -> None:
    content, expected = CLOSED[name]
    for pieces in ([content + LAST], [content + LAST[:9], LAST[9:]], [content[:-7], content[-7:] + LAST]):
        upstream.forget()
        answers = await answered(proxy, *pieces)
        assert statuses(answers) == [b"200"]
        assert upstream.content == expected


@pytest.mark.parametrize("expected", [b"200-ok", b"100-continue, x", b"x"])
@pytest.mark.parametrize("start", [POST, CHAT])
async def test_an_unknown_expectation_is_not_met(
    proxy: Proxy, upstream: Recorder, start: bytes, expected: bytes
) -> None:
    """As Ollama's own server has it."""
    content = of(start, b"Expect: " + expected, b"Content-Length: 18", body=BODY)
    answers = await answered(proxy, content + LAST)
    assert statuses(answers) == [b"417"]
    assert upstream.content == b""


async def test_whoever_sends_the_body_at_once_or_none_at_all_is_not_told_to_continue(
    proxy: Proxy, upstream: Recorder
) -> None:
    whole = of(POST, b"Expect: 100-continue", b"Content-Length: 5", body=b"hello")
    assert statuses(await answered(proxy, whole + LAST)) == [b"200", b"200"]
    empty = of(GET, b"Expect: 100-Continue")
    assert statuses(await answered(proxy, empty + LAST)) == [b"200", b"200"]
    assert [request.body for request in upstream.requests] == [b"hello", b"", b"", b""]


async def test_requests_that_were_sent_ahead_are_answered_in_their_order(proxy: Proxy, upstream: Recorder) -> None:
    """Of each kind, a model's behind others and others behind a model's; h11 counts them as they arrive."""
    ahead = [
        of(b"GET /1 HTTP/1.1"),
        of(CHAT, b"Content-Length: 18", body=BODY),
        of(b"HEAD /3 HTTP/1.1"),
        of(b"POST /4 HTTP/1.1", b"Content-Length: 5", body=b"hello"),
        of(CHAT, b"Content-Length: 18", body=BODY),
        of(b"DELETE /6 HTTP/1.1"),
    ]
    for at_once in (True, False):
        upstream.forget()
        answers = await answered(proxy, *([b"".join(ahead) + LAST] if at_once else [*ahead, LAST]))
        bodies = [part.partition(b"\r\n\r\n")[2] for part in answers.split(b"HTTP/1.1 200 OK")[1:]]
        assert bodies == [b"1", b"2", b"", b"4", b"5", b"6", b"7"]
        targets = [request.target for request in upstream.requests]
        assert targets == [b"/1", b"/api/chat", b"/3", b"/4", b"/api/chat", b"/6", b"/last"]


async def test_a_hundred_requests_in_one_write_are_all_answered(proxy: Proxy, upstream: Recorder) -> None:
    answers = await answered(proxy, of(GET) * 100 + LAST)
    assert statuses(answers) == [b"200"] * 101
    assert len(upstream.requests) == 101
