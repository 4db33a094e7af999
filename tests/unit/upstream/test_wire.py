"""The pool in front of a real socket: what goes out, which connection it takes, what is sent again."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING

import pytest

from proxy.upstream.wire import UpstreamPool
from proxy.upstream.wire_answer import DroppedError, NoAnswerError
from tests.unit.upstream.scripted_server import HANG_UP, Server, asked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    running = Server()
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def pool(server: Server) -> AsyncIterator[UpstreamPool]:
    made = UpstreamPool(f"http://127.0.0.1:{server.port}", 5)
    yield made
    made.close()


async def pieces(*contents: bytes) -> AsyncIterator[bytes]:
    for content in contents:
        yield content


async def test_what_goes_out_is_what_was_given_behind_the_host(pool: UpstreamPool, server: Server) -> None:
    assert await asked(pool, "PROPFIND", "/a%2f//?x=\xe9", ("x-A", "1"), ("X-a", "\udcff"), ("Y", "")) == b"ok"
    host = f"Host: 127.0.0.1:{server.port}".encode()
    assert server.heard == [
        (1, b"PROPFIND /a%2f//?x=\xc3\xa9 HTTP/1.1\r\n" + host + b"\r\nx-A: 1\r\nX-a: \xff\r\nY: \r\n\r\n")
    ]


async def test_a_path_of_the_upstream_is_above_all_targets_but_the_asterisk(server: Server) -> None:
    pool = UpstreamPool(f"http://127.0.0.1:{server.port}/ollama/", 5)
    for target in ("/api/tags", "*"):
        await asked(pool, "OPTIONS", target)
    assert [content.split(b" ")[1] for _, content in server.heard] == [b"/ollama/api/tags", b"*"]
    assert pool.url == f"http://127.0.0.1:{server.port}/ollama"
    pool.close()


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (b"", b"Content-Length: 0\r\n\r\n"),
        (b"{}", b"Content-Length: 2\r\n\r\n{}"),
        (
            [b"ab", b"", b"c" * 16],
            b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n10\r\n" + b"c" * 16 + b"\r\n0\r\n\r\n",
        ),
        ([], b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ],
)
async def test_a_body_gets_the_framing_that_it_needs(
    pool: UpstreamPool, server: Server, body: bytes | list[bytes], sent: bytes
) -> None:
    await asked(pool, "POST", body=pieces(*body) if isinstance(body, list) else body)
    assert server.heard[0][1].partition(b"\r\n")[2].partition(b"\r\n")[2] == sent


async def test_a_length_that_is_given_frames_the_pieces(pool: UpstreamPool, server: Server) -> None:
    await asked(pool, "POST", "/", ("content-length", "3"), body=pieces(b"ab", b"c"))
    assert server.heard[0][1].endswith(b"\r\ncontent-length: 3\r\n\r\nabc")


@pytest.mark.parametrize("bad", ["a\r\nB: c", "a\nb", "a\rb", "a\0b", "\r\n"])
@pytest.mark.parametrize("where", range(4))
async def test_nothing_can_be_smuggled_into_a_head(pool: UpstreamPool, server: Server, bad: str, where: int) -> None:
    parts = ["GET", "/", "Name", "value"]
    parts[where] += bad
    with pytest.raises(ValueError, match="line break"):
        await asked(pool, parts[0], parts[1], (parts[2], parts[3]))
    assert server.writers == []


async def test_one_connection_serves_one_request_after_another(pool: UpstreamPool, server: Server) -> None:
    for _ in range(3):
        assert await asked(pool, "POST", body=b"x") == b"ok"
    assert [number for number, _ in server.heard] == [1, 1, 1]


async def test_of_idle_connections_the_newest_is_used_first(pool: UpstreamPool, server: Server) -> None:
    answers = [await pool.exchange("GET", "/", (), None) for _ in range(3)]
    for number in (0, 2, 1):
        while await answers[number].read():
            pass
        await answers[number].close()
    server.heard.clear()
    answers = [await pool.exchange("GET", "/", (), None) for _ in range(3)]
    assert [number for number, _ in server.heard] == [2, 3, 1]
    for answer in answers:
        await answer.close()


async def test_a_connection_that_was_idle_for_long_is_not_used_again(
    pool: UpstreamPool, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A firewall on the way forgets connections without telling anyone."""
    loop = asyncio.get_running_loop()
    now = loop.time()
    for later, expected in ((0, 1), (14, 1), (28, 1), (44, 2)):
        monkeypatch.setattr(loop, "time", lambda later=later: now + later)
        await asked(pool)
        assert server.heard[-1][0] == expected


async def test_of_too_many_idle_connections_the_oldest_is_closed(pool: UpstreamPool) -> None:
    class Idle:
        is_closed = False

        def abort(self) -> None:
            self.is_closed = True

    connections = [Idle() for _ in range(514)]
    for connection in connections:
        pool.take_back(connection)
    assert [connection.is_closed for connection in connections] == [True, True] + [False] * 512


async def test_a_server_that_started_anew_in_the_meantime_is_no_error(pool: UpstreamPool, server: Server) -> None:
    await asked(pool)
    server.writers[0].close()
    await server.writers[0].wait_closed()
    for _ in range(5):
        await asyncio.sleep(0)  # the end is there, the pool hears of it
    assert await asked(pool, "POST", body=b"x") == b"ok"
    assert [number for number, _ in server.heard] == [1, 2]


async def test_an_idle_connection_whose_end_nobody_has_read_yet_is_not_used(pool: UpstreamPool, server: Server) -> None:
    """A POST on it would be lost, and may not be sent again; the system knows of the end before the loop does."""
    await asked(pool)
    server.writers[0].get_extra_info("socket").shutdown(socket.SHUT_WR)
    time.sleep(0.01)  # noqa: ASYNC251 - the loop is busy meanwhile, as under load
    assert await asked(pool, "POST", body=b"x") == b"ok"
    assert [number for number, _ in server.heard] == [1, 2]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])
@pytest.mark.parametrize("body", [None, b"x"])
async def test_what_does_no_harm_twice_is_sent_again_if_an_idle_connection_was_dead(
    pool: UpstreamPool, server: Server, method: str, body: bytes | None
) -> None:
    await asked(pool)
    server.script = [HANG_UP]
    await asked(pool, method, body=body)
    assert [number for number, _ in server.heard] == [1, 1, 2]


async def test_it_is_sent_again_only_once(pool: UpstreamPool, server: Server) -> None:
    await asked(pool)
    server.script = [HANG_UP, HANG_UP]
    with pytest.raises(DroppedError):
        await asked(pool)
    assert [number for number, _ in server.heard] == [1, 1, 2]


@pytest.mark.parametrize(
    ("method", "body", "script"),
    [
        ("POST", b"x", HANG_UP),
        ("PATCH", b"x", HANG_UP),
        ("POST", None, HANG_UP),
        ("PUT", "pieces", HANG_UP),
        ("GET", None, b"HTTP/1.1 2"),
    ],
)
async def test_nothing_else_is_sent_again(pool: UpstreamPool, server: Server, method, body, script) -> None:
    await asked(pool)
    server.script = [script]
    exchange = asyncio.ensure_future(asked(pool, method, body=pieces(b"x") if body == "pieces" else body))
    while len(server.heard) < 2:  # noqa: ASYNC110 - the server is in this very loop
        await asyncio.sleep(0)
    server.writers[0].close()
    with pytest.raises(NoAnswerError):
        await exchange
    assert [number for number, _ in server.heard] == [1, 1]


async def test_closing_closes_the_idle_connections(pool: UpstreamPool, server: Server) -> None:
    await asked(pool)
    pool.close()
    await server.writers[0].wait_closed()
    assert await asked(pool) == b"ok"
    assert server.heard[-1][0] == 2
