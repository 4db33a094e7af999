"""Clients' bytes made out of whole and of ambiguous requests by chance, and what the upstream may receive of them."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

from tests.fuzz.referee import Plain, end_to_end, plain_requests
from tests.integration.raw_http import Wire
from tests.integration.test_ambiguous_requests import AMBIGUOUS_HEADS, MALFORMED_CHUNKS, NEXT, post
from tests.integration.test_http_forms import CLOSED, KEPT_OPEN

if TYPE_CHECKING:
    import random

    from tests.integration.recorder import Recorder

SEEDS = [
    NEXT,
    *(content for content in AMBIGUOUS_HEADS.values() if len(content) < 2000),
    *(post(b"Transfer-Encoding: chunked", body=content) for content in MALFORMED_CHUNKS.values()),
    *(content for content, _ in [*KEPT_OPEN.values(), *CLOSED.values()] if len(content) < 2000),
]
NASTY = [
    *(bytes([byte]) for byte in b'\0\t\n\v\r\x1f "#%()*+,-/:;=?@[\\]_\x7f\x80\xff0159aAxX'),
    *(b"\r\n", b"\r\n\r\n", b"\n\n", b"\r\n ", b" HTTP/1.1\r\n", b"HTTP/1.0", b"http://x", b"Host: y\r\n", b"X: y\r\n"),
    *(b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Content-Length", b"Transfer-Encoding", b"chunked", b"gzip"),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"0\r\n\r\n",
        b"5\r\nhello\r\n",
        b"Expect: 100-continue\r\n",
        b"CONNECT ",
        b"HEAD ",
    ),
    *(b"Connection: close\r\n", b"Connection: Upgrade\r\n", b"Upgrade: h2c\r\n", b"Upgrade: websocket\r\n", NEXT),
]
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
HASTE_SECONDS, PATIENCE_SECONDS = 0.03, 2.0
"""How long the proxy may be silent before it counts as waiting for more."""

_FINAL = re.compile(rb"HTTP/\d\.\d ([2-9]\d\d) ")


def mutated(chance: random.Random) -> bytes:
    """Make up what a client sends."""
    content = bytearray(b"".join(chance.choices(SEEDS, k=chance.randint(1, 3))))
    for _ in range(chance.randint(0, 3)):
        at = chance.randint(0, len(content))
        until = min(len(content), at + chance.choice([0, 0, 1, 1, 2, 8]))
        content[at:until] = chance.choice(
            [chance.choice(NASTY), chance.choice(NASTY), content[until : until + 20], b""]
        )
    return bytes(content) + LAST


async def check(url: str, upstream: Recorder, content: bytes, chance: random.Random) -> None:
    """Send it, in pieces by chance, and check what the upstream received.

    Raises:
        AssertionError: more or other requests than there are for certain, or more than were answered.
    """
    pieces = _pieces(content, chance)
    try:
        await _check(url, upstream, pieces, HASTE_SECONDS)
    except AssertionError:  # the machine may be slow: what was sent before may have arrived late
        await asyncio.sleep(PATIENCE_SECONDS)
        await _check(url, upstream, pieces, PATIENCE_SECONDS)


async def _check(url: str, upstream: Recorder, pieces: list[bytes], silence_seconds: float) -> None:
    upstream.forget()
    client = await Wire.connect(url)
    reading = asyncio.create_task(_said(client, silence_seconds))
    with suppress(ConnectionError, RuntimeError):
        for piece in pieces:
            await client.send(piece)
            await asyncio.sleep(0.001)
    statuses = [int(status) for status in _FINAL.findall(await reading)]
    client.reset()
    received = [
        Plain(request.method, request.target, end_to_end(request.headers), request.body)
        for request in upstream.requests
    ]
    certain = plain_requests(b"".join(pieces))
    assert received == certain[: len(received)], (pieces, received, certain)
    assert upstream.problems == [], (pieces, upstream.problems)
    assert len(received) <= sum(status < HTTPStatus.BAD_REQUEST for status in statuses), (pieces, received, statuses)
    assert HTTPStatus.INTERNAL_SERVER_ERROR not in statuses, pieces


def _pieces(content: bytes, chance: random.Random) -> list[bytes]:
    cuts = sorted(chance.sample(range(1, len(content)), k=chance.choice([0, 0, 1, 3])))
    return [content[start:end] for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True)]


async def _said(client: Wire, silence_seconds: float) -> bytes:
    """Read until the proxy closes or is silent."""
    content = b""
    with suppress(ConnectionError, TimeoutError):
        while piece := await asyncio.wait_for(client.reader.read(2**16), silence_seconds):
            content += piece
    return content
