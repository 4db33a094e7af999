"""What two servers could read differently is refused with 400, and neither it nor what is behind it goes upstream."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.integration.raw_http import chunk
from tests.integration.recorder import Recorder, recorder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.conftest import Proxy, StartProxy
    from tests.integration.raw_http import Wire

NEXT = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"


def get(*lines: bytes, start: bytes = b"GET /x HTTP/1.1") -> bytes:
    return b"\r\n".join([start, b"Host: x", *lines, b"", b""])


def post(*lines: bytes, body: bytes = b"hello", start: bytes = b"POST /x HTTP/1.1") -> bytes:
    return get(*lines, start=start) + body


AMBIGUOUS_HEADS = {
    "two-lengths": post(b"Content-Length: 5", b"Content-Length: 6"),
    "the-same-length-twice": post(b"Content-Length: 5", b"Content-Length: 5"),
    "a-list-of-lengths": post(b"Content-Length: 5, 5"),
    "a-length-with-sign": post(b"Content-Length: +5"),
    "a-negative-length": post(b"Content-Length: -5"),
    "a-hexadecimal-length": post(b"Content-Length: 0x5"),
    "a-length-with-underscore": post(b"Content-Length: 1_0"),
    "a-length-in-other-digits": post(b"Content-Length: \xd9\xa5"),
    "a-length-with-decimals": post(b"Content-Length: 5.0"),
    "a-length-with-vertical-tab": post(b"Content-Length: 5\x0b"),
    "no-length": post(b"Content-Length:"),
    "a-length-of-64-bits": post(b"Content-Length: 18446744073709551615"),
    "a-length-beyond-64-bits": post(b"Content-Length: 99999999999999999999"),
    "length-and-chunks": post(b"Content-Length: 5", CHUNKED, body=chunk(b"")),
    "chunks-and-length": post(CHUNKED, b"Content-Length: 5", body=chunk(b"")),
    "chunks-twice-in-two-lines": post(CHUNKED, CHUNKED, body=chunk(b"")),
    **{
        f"coding-{coding!a}": post(b"Transfer-Encoding: " + coding, body=chunk(b"hello") + chunk(b""))
        for coding in (
            b"identity",
            b"xchunked",
            b"chunked, chunked",
            b"chunked, identity",
            b"gzip, chunked",
            b"gzip",
            b"chunked;a=b",
            b"chunked,",
            b",chunked",
            b'"chunked"',
            b"chunked\xff",
            b"\x0bchunked",
            b"",
        )
    },
    "chunks-in-http-1.0": post(b"Connection: keep-alive", CHUNKED, start=b"POST /x HTTP/1.0", body=chunk(b"")),
    "space-before-the-colon": get(b"X-A : 1"),
    "tab-before-the-colon": get(b"X-A\t: 1"),
    "space-before-the-colon-of-the-length": post(b"Content-Length : 5"),
    "a-folded-line": get(b"X-A: 1\r\n folded"),
    "a-line-folded-with-tab": get(b"X-A: 1\r\n\tfolded"),
    "a-folded-length": post(b"Content-Length:\r\n 5"),
    "a-folded-first-line": b"GET /x HTTP/1.1\r\n Host: x\r\n\r\n",
    "nul-in-a-value": get(b"X-A: a\0b"),
    "nul-in-a-name": get(b"X\0A: b"),
    "bare-cr-in-a-value": get(b"X-A: a\rX-B: b"),
    "bare-cr-in-a-name": get(b"X\rA: b"),
    "bare-lf-in-a-value": get(b"X-A: a\nX-B: b"),
    "two-crs": get(b"X-A: a\r"),
    "a-control-character": get(b"X-A: a\x01b"),
    "delete": get(b"X-A: a\x7fb"),
    "a-line-without-colon": get(b"nothing"),
    "an-empty-name": get(b": x"),
    "space-in-a-name": get(b"X A: b"),
    "a-name-beyond-ascii": get("X-\u00fc: b".encode()),
    "all-lines-end-in-lf": get().replace(b"\r\n", b"\n"),
    "all-lines-end-in-cr": get().replace(b"\r\n", b"\r"),
    "two-hosts": get(b"Host: y"),
    "no-host": b"GET /x HTTP/1.1\r\n\r\n",
    "two-content-types": get(b"Content-Type: a/b", b"Content-Type: c/d"),
    "a-tunnel": get(start=b"CONNECT example.com:80 HTTP/1.1"),
    "a-tunnel-with-a-body": post(b"Content-Length: 5", start=b"CONNECT example.com:80 HTTP/1.1"),
    "a-tunnel-to-a-path": get(start=b"CONNECT /x HTTP/1.1"),
    "an-authority-as-target": get(start=b"GET example.com:80 HTTP/1.1"),
    "a-target-of-another-scheme": get(start=b"GET ftp://x/y HTTP/1.1"),
    "a-target-without-authority": get(start=b"GET http:///y HTTP/1.1"),
    "a-target-with-half-an-address": get(start=b"GET http://[::1/y HTTP/1.1"),
    "a-relative-target": get(start=b"GET x HTTP/1.1"),
    "a-query-as-target": get(start=b"GET ?x HTTP/1.1"),
    "a-star-as-target": get(start=b"GET * HTTP/1.1"),
    "no-target": get(start=b"GET HTTP/1.1"),
    "space-in-the-target": get(start=b"GET /a b HTTP/1.1"),
    "nul-in-the-target": get(start=b"GET /a\0b HTTP/1.1"),
    "tab-in-the-target": get(start=b"GET /a\tb HTTP/1.1"),
    "a-target-beyond-ascii": get(start="GET /\u00fc HTTP/1.1".encode()),
    "no-version": get(start=b"GET /x"),
    "version-2": get(start=b"GET /x HTTP/2.0"),
    "version-1.2": get(start=b"GET /x HTTP/1.2"),
    "version-0.9": get(start=b"GET /x HTTP/0.9"),
    "version-1.10": get(start=b"GET /x HTTP/1.10"),
    "another-protocol": get(start=b"GET /x ICE/1.0"),
    "http-2s-preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a-method-in-lower-case": get(start=b"get /x HTTP/1.1"),
    "space-before-the-method": get(start=b" GET /x HTTP/1.1"),
    "tabs-in-the-first-line": get(start=b"GET\t/x\tHTTP/1.1"),
    "a-space-at-the-end-of-the-first-line": get(start=b"GET /x HTTP/1.1 "),
    "200-headers": get(*(b"X-%d: 1" % number for number in range(200))),
    "a-key-of-the-first-websockets": get(b"Sec-WebSocket-Key1: x"),
}

OVERSIZE = {
    "a-target": get(start=b"GET /" + b"a" * 66_000 + b" HTTP/1.1"),
    "a-value": get(b"X-A: " + b"a" * 66_000),
    "a-name": get(b"X" * 66_000 + b": a"),
}

MALFORMED_CHUNKS = {
    "no-size": b"\r\nhello\r\n0\r\n\r\n",
    "letters-for-a-size": b"zz\r\nhello\r\n0\r\n\r\n",
    "a-size-with-0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a-negative-size": b"-5\r\nhello\r\n0\r\n\r\n",
    "a-size-with-sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "a-size-beyond-64-bits": b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "space-before-the-size": b" 5\r\nhello\r\n0\r\n\r\n",
    "space-behind-the-size": b"5 \r\nhello\r\n0\r\n\r\n",
    "bare-lf-behind-the-size": b"5\nhello\r\n0\r\n\r\n",
    "nul-in-an-extension": b"5;a=\0b\r\nhello\r\n0\r\n\r\n",
    "bare-lf-in-an-extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "more-data-than-the-size": b"3\r\nhello\r\n0\r\n\r\n",
    "bare-lf-behind-the-data": b"5\r\nhello\n0\r\n\r\n",
    "nothing-behind-the-data": b"5\r\nhello0\r\n\r\n",
    "bare-crs": b"5\rhello\r0\r\r",
    "a-length-as-trailer": b"5\r\nhello\r\n0\r\nContent-Length: 7\r\n\r\n",
    "a-trailer-without-colon": b"5\r\nhello\r\n0\r\nno trailer\r\n\r\n",
    "a-trailer-that-ends-in-lf": b"5\r\nhello\r\n0\r\nX: 1\n\n",
    "a-folded-trailer": b"5\r\nhello\r\n0\r\nX: 1\r\n 2\r\n\r\n",
    "a-request-for-the-end": b"5\r\nhello\r\n0\r\n" + NEXT,
}


@pytest.fixture
async def upstream() -> AsyncIterator[Recorder]:
    async with recorder() as running:
        yield running


@pytest.fixture
async def proxy(upstream: Recorder, start_proxy: StartProxy) -> Proxy:
    return await start_proxy(upstream.url)


async def until_closed(client: Wire) -> bytes:
    """Read all that comes; what the client still sends may meet a closed connection, which resets it."""
    content = b""
    with suppress(ConnectionError):
        while piece := await client.reader.read(2**16):
            content += piece
    return content


async def refused(proxy: Proxy, *pieces: bytes, answered: int = 0) -> str:
    """Send this piece by piece; return the error of the 400 behind so many answers that ends the connection."""
    client = await proxy.client()
    reading = asyncio.create_task(until_closed(client))
    with suppress(ConnectionError, RuntimeError):  # uvloop: the handler is closed; it is not bound to take the rest
        for piece in pieces:
            await client.send(piece)
            await asyncio.sleep(0.002)  # so that it comes in a read of its own
    content = await reading
    assert content.count(b"HTTP/1.1 200 ") == answered
    head, _, body = content.rpartition(b"\r\n\r\n")
    assert re.search(rb"HTTP/\d\.\d 400 Bad Request\r\n", head)
    assert b"\r\nConnection: close" in head
    assert b"\r\nContent-Type: application/json" in head
    error: str = json.loads(body)["error"]
    return error


@pytest.mark.parametrize("content", AMBIGUOUS_HEADS.values(), ids=list(AMBIGUOUS_HEADS))
async def test_an_ambiguous_head_is_refused_and_nothing_of_it_goes_upstream(
    proxy: Proxy, upstream: Recorder, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "HTTP" in await refused(proxy, content + NEXT)
    await refused(proxy, content, NEXT)
    assert upstream.content == b""
    await refused(proxy, get(), content + NEXT, answered=1)
    assert upstream.content == get().replace(b"Host: x\r\n", b"")
    assert "aiohttp" not in capsys.readouterr().err


@pytest.mark.parametrize("content", OVERSIZE.values(), ids=list(OVERSIZE))
async def test_an_oversize_line_is_refused(proxy: Proxy, upstream: Recorder, content: bytes) -> None:
    client = await proxy.client()
    reading = asyncio.create_task(until_closed(client))
    with suppress(ConnectionError, RuntimeError):
        await client.send(content + NEXT)
    answer = await reading
    assert not answer or b" 400 Bad Request\r\n" in answer  # a reset may overtake it: the line was not read to its end
    assert upstream.content == b""


async def test_a_length_that_only_some_can_count_is_refused(proxy: Proxy, upstream: Recorder) -> None:
    client = await proxy.client()
    await client.send(post(b"Content-Length: 9223372036854775808"))  # 2 ** 63; the proxy would wait for the rest of it
    head, body = await client.answer()
    assert (head.status, head.all("connection")) == (400, ["close"])
    assert b"Content-Length must be at most 9223372036854775807" in body
    assert upstream.content == b""


@pytest.mark.parametrize("content", MALFORMED_CHUNKS.values(), ids=list(MALFORMED_CHUNKS))
async def test_a_malformed_chunk_is_refused_while_the_client_waits_and_never_ends_a_body(
    proxy: Proxy, upstream: Recorder, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (b"/x", b"/api/chat", b"/v1/chat/completions"):
        head = post(CHUNKED, body=b"", start=b"POST " + path + b" HTTP/1.1")
        await refused(proxy, head + content + NEXT)
        await refused(proxy, head, content, NEXT)
        await refused(proxy, head + b"1\r\n{\r\n", *content.splitlines(keepends=True), NEXT)
    assert upstream.requests == []
    assert upstream.problems == []
    assert b"smuggled" not in upstream.content
    assert b"0\r\n\r\n" not in upstream.content
    assert "aiohttp" not in capsys.readouterr().err
