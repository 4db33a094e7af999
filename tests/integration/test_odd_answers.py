"""What the upstream answers: odd but plain passes as it came; the rest is a 502 or an aborted connection, no guess."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.integration.raw_http import CHUNKED_ANSWER, Wire, answer, chunk, request
from tests.integration.test_unreachable import message

if TYPE_CHECKING:
    from tests.integration.conftest import Proxy
    from tests.integration.raw_http import Head
    from tests.integration.raw_upstream import RawUpstream

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 2\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LONG = b"a" * 2**20


def of(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK", body: bytes = b"ok") -> bytes:
    return b"\r\n".join([start, *lines, b"", b""]) + body


NO_ANSWERS = {
    "garbage": b"\0\0\0\0",
    "another-protocol": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "two-lengths": of(b"Content-Length: 2", b"Content-Length: 3"),
    "the-same-length-twice": of(b"Content-Length: 2", b"Content-Length: 2"),
    "a-list-of-lengths": of(b"Content-Length: 2, 2"),
    "a-length-with-sign": of(b"Content-Length: +2"),
    "a-hexadecimal-length": of(b"Content-Length: 0x2"),
    "a-length-beyond-64-bits": of(b"Content-Length: 99999999999999999999"),
    "no-length": of(b"Content-Length:"),
    "length-and-chunks": of(b"Content-Length: 2", b"Transfer-Encoding: chunked"),
    "chunks-and-length": of(b"Transfer-Encoding: chunked", b"Content-Length: 2"),
    **{
        f"coding-{coding.decode()}": of(b"Transfer-Encoding: " + coding, body=chunk(b"ok") + chunk(b""))
        for coding in (
            b"identity",
            b"gzip, chunked",
            b"chunked, chunked",
            b"xchunked",
            b",chunked",
            b"chunked;q=1",
            b"",
        )
    },
    "chunks-in-http-1.0": of(b"Transfer-Encoding: chunked", start=b"HTTP/1.0 200 OK", body=chunk(b"ok") + chunk(b"")),
    "space-before-the-colon": of(b"X : 1", b"Content-Length: 2"),
    "a-folded-line": of(b"X: 1\r\n 2", b"Content-Length: 2"),
    "nul-in-a-value": of(b"X: a\0b", b"Content-Length: 2"),
    "bare-cr-in-a-value": of(b"X: a\rSet-Cookie: b", b"Content-Length: 2"),
    "bare-lf-in-a-value": of(b"X: a\nSet-Cookie: b", b"Content-Length: 2"),
    "a-control-character": of(b"X: a\x01b", b"Content-Length: 2"),
    "a-line-without-colon": of(b"nothing", b"Content-Length: 2"),
    "an-empty-name": of(b": x", b"Content-Length: 2"),
    "a-name-beyond-ascii": of(b"X\xfc: x", b"Content-Length: 2"),
    "all-lines-end-in-lf": of(b"Content-Length: 2").replace(b"\r\n", b"\n"),
    "nul-in-the-reason": of(b"Content-Length: 2", start=b"HTTP/1.1 200 a\0b"),
    "a-control-character-in-the-reason": of(b"Content-Length: 2", start=b"HTTP/1.1 200 a\x01b"),
    "bare-cr-in-the-reason": of(b"Content-Length: 2", start=b"HTTP/1.1 200 a\rb"),
    "a-status-of-two-digits": of(b"Content-Length: 2", start=b"HTTP/1.1 20 OK"),
    "a-status-of-four-digits": of(b"Content-Length: 2", start=b"HTTP/1.1 2000 OK"),
    "another-version": of(b"Content-Length: 2", start=b"HTTP/2 200 OK"),
    "an-upgrade": of(
        b"Connection: upgrade", b"Upgrade: websocket", start=b"HTTP/1.1 101 Switching Protocols", body=b""
    ),
    "an-interim-answer-with-a-body": of(b"Content-Length: 2", start=b"HTTP/1.1 199 Odd") + of(b"Content-Length: 2"),
    "a-line-of-a-megabyte": of(b"X: " + LONG, b"Content-Length: 2"),
    "a-name-of-a-megabyte": of(LONG + b": x", b"Content-Length: 2"),
    "a-reason-of-a-megabyte": of(b"Content-Length: 2", start=b"HTTP/1.1 200 " + LONG),
    "a-megabyte-of-headers": of(*[b"X: 1"] * 180_000, b"Content-Length: 2"),
}

BROKEN_BODIES = {
    "bare-lf-behind-a-size": b"2\nok\r\n",
    "space-behind-a-size": b"2 \r\nok\r\n",
    "no-size": b"\r\nok\r\n",
    "a-size-beyond-64-bits": b"fffffffffffffffff\r\nok\r\n",
    "more-data-than-the-size": b"1\r\nok\r\n",
    "bare-lf-behind-the-data": b"2\r\nok\n",
    "a-length-as-trailer": b"2\r\nok\r\n0\r\nContent-Length: 1\r\n\r\n",
    "a-trailer-without-colon": b"2\r\nok\r\n0\r\nnothing\r\n\r\n",
    "a-trailer-that-ends-in-lf": b"2\r\nok\r\n0\r\nX: 1\n\n",
    "an-extension-of-a-megabyte": b"2;" + LONG + b"\r\nok\r\n",
    "a-trailer-of-a-megabyte": b"2\r\nok\r\n0\r\nX: " + LONG + b"\r\n\r\n",
}


async def came_down(client: Wire, upstream: RawUpstream, content: bytes, method: str = "GET") -> Head:
    await client.send(request("/x", method=method))
    exchange = await upstream.next()
    with suppress(ConnectionError):  # the proxy is not bound to take it all
        await exchange.wire.send(content)
    exchange.done.set()
    return await client.head()


async def works(client: Wire, upstream: RawUpstream) -> None:
    head = await came_down(client, upstream, answer(b"next"))
    assert (head.status, await client.body(head)) == (200, b"next")


@pytest.mark.parametrize("content", NO_ANSWERS.values(), ids=list(NO_ANSWERS))
async def test_what_is_no_proper_answer_is_a_502_that_says_so(
    proxy: Proxy, upstream: RawUpstream, content: bytes
) -> None:
    client = await proxy.client()
    head = await came_down(client, upstream, content)
    assert head.status == 502
    assert "it does not answer in proper HTTP" in message("/x", await client.body(head))
    await works(await proxy.client(), upstream)


@pytest.mark.parametrize("content", BROKEN_BODIES.values(), ids=list(BROKEN_BODIES))
async def test_a_body_that_is_malformed_never_comes_to_an_end(
    proxy: Proxy, upstream: RawUpstream, content: bytes
) -> None:
    client = await proxy.client()
    head = await came_down(client, upstream, CHUNKED_ANSWER + content)
    rest = b""
    with suppress(ConnectionError):
        rest = await client.rest()
    assert head.chunked
    assert not rest.endswith(b"0\r\n\r\n")
    await works(await proxy.client(), upstream)


@pytest.mark.parametrize("length", [3, 2**63, 2**64 - 1])
async def test_an_answer_shorter_than_its_length_never_comes_to_an_end(
    proxy: Proxy, upstream: RawUpstream, length: int
) -> None:
    client = await proxy.client()
    await client.send(request("/x", method="GET"))
    exchange = await upstream.next()
    await exchange.wire.send(of(b"Content-Length: %d" % length))
    exchange.wire.close()
    exchange.done.set()
    head = await client.head()
    assert head.length == length
    with pytest.raises(ConnectionError):
        await client.rest()


@pytest.mark.parametrize(
    "more", [answer(b"another"), b"ok", b"\0", b"HTTP/1.1 200 OK\r\n"], ids=["an-answer", "text", "nul", "half-a-head"]
)
async def test_what_the_upstream_sends_behind_its_answer_is_nobodys(
    client: Wire, upstream: RawUpstream, more: bytes
) -> None:
    for content, method, body in (
        (answer(b"mine"), "GET", b"mine"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "GET", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", "GET", b""),
        (of(b"Content-Length: 2", body=b""), "HEAD", b""),
        (CHUNKED_ANSWER + chunk(b"mine") + chunk(b""), "GET", b"mine"),
    ):
        head = await came_down(client, upstream, content + more, method)
        assert head.status != 502
        has_body = method == "GET" and head.status == 200
        assert (await client.body(head) if has_body else b"") == body
        await works(client, upstream)


@pytest.mark.parametrize("status", [b"304 Not Modified", b"304 Other"])
async def test_a_304_keeps_the_length_of_what_has_not_changed(
    client: Wire, upstream: RawUpstream, status: bytes
) -> None:
    head = await came_down(
        client, upstream, of(b"ETag: a", b"Content-Length: 1234", start=b"HTTP/1.1 " + status, body=b"")
    )
    assert (head.all("content-length"), head.all("etag")) == (["1234"], ["a"])
    await works(client, upstream)


@pytest.mark.parametrize(
    "content",
    [
        of(b"Content-Length: 2"),
        of(b"Transfer-Encoding: chunked", body=chunk(b"ok") + chunk(b"")),
        of(b"Content-Length: 0", body=b""),
        of(b"Content-Length: %d" % 2**20, body=LONG),
    ],
    ids=["short", "chunked", "empty", "long"],
)
async def test_no_content_type_is_made_up(client: Wire, upstream: RawUpstream, content: bytes) -> None:
    head = await came_down(client, upstream, content)
    assert head.all("content-type") == []
    await client.body(head)
    await works(client, upstream)


async def test_what_is_latin_1_in_a_header_arrives_as_the_same_text_in_utf_8(
    client: Wire, upstream: RawUpstream
) -> None:
    lines = (b"X-A: a\xfcb", b"X-B: a\xc3\xbcb", b"X-C: \xe2\x80\xa8", b"Content-Length: 2")
    head = await came_down(client, upstream, of(*lines, start=b"HTTP/1.1 200 \xfc"))
    assert head.start.encode("latin-1") == b"HTTP/1.1 200 \xc3\xbc"
    values = [value.encode("latin-1") for name, value in head.headers if name.startswith("X-")]
    assert values == [b"a\xc3\xbcb", b"a\xc3\xbcb", b"\xe2\x80\xa8"]


async def test_interim_answers_of_any_number_are_not_the_answer(client: Wire, upstream: RawUpstream) -> None:
    interim = [b"100 Continue", b"102 Processing", b"103 Early Hints\r\nLink: </a>", b"199 Odd"]
    content = b"".join(b"HTTP/1.1 " + status + b"\r\n\r\n" for status in interim)
    head = await came_down(client, upstream, content + answer(b"real", "X-A: 1"))
    assert (head.status, head.all("link"), head.all("x-a")) == (200, [], ["1"])
    assert await client.body(head) == b"real"
    await works(client, upstream)


async def test_trailers_and_extensions_stay_behind(client: Wire, upstream: RawUpstream) -> None:
    content = CHUNKED_ANSWER + b"2;a=b\r\nok\r\n0;c\r\nX-A: 1\r\nSet-Cookie: b\r\n\r\n"
    head = await came_down(client, upstream, content)
    assert await client.body(head) == b"ok"
    await works(client, upstream)
