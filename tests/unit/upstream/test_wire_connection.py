"""One exchange on one connection, with a transport that only notes what it is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from proxy.upstream.wire_answer import BrokenAnswerError, DroppedError
from proxy.upstream.wire_connection import Connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEAD = b"POST / HTTP/1.1\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"


class Transport(asyncio.Transport):
    """Notes what is written and whether it is held back or closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.reads = True
        self.is_aborted = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def abort(self) -> None:
        self.is_aborted = True

    def is_closing(self) -> bool:
        return self.is_aborted

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True


class Pool:
    """Notes what is given back."""

    def __init__(self) -> None:
        self.idle: list[Connection] = []

    def take_back(self, connection: Connection) -> None:
        self.idle.append(connection)

    def forget(self, connection: Connection) -> None:
        self.idle = [each for each in self.idle if each is not connection]


class Upload:
    """A body whose pieces the test hands out; tells whether reading it was given up."""

    def __init__(self) -> None:
        self.pieces: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.is_given_up = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while (piece := await self.pieces.get()) is not None:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        except asyncio.CancelledError:
            self.is_given_up = True
            raise


@pytest.fixture
def transport() -> Transport:
    return Transport()


@pytest.fixture
def pool() -> Pool:
    return Pool()


@pytest.fixture
def connection(pool: Pool, transport: Transport) -> Connection:
    made = Connection(pool)
    made.connection_made(transport)
    return made


@pytest.fixture
def upload() -> Upload:
    return Upload()


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def begun(connection: Connection, content: bytes, body: bytes | Upload | None = None):
    """The answer that begins with this."""
    exchange = asyncio.ensure_future(connection.exchange("POST", HEAD, body))
    await settled()
    connection.data_received(content)
    return await exchange


async def test_head_and_body_go_out_in_one_write(connection: Connection, transport: Transport) -> None:
    await begun(connection, WHOLE, b"body")
    assert transport.written == [HEAD + b"body"]


async def test_a_connection_goes_back_when_its_answer_is_complete_though_unread(
    connection: Connection, pool: Pool, transport: Transport
) -> None:
    answer = await begun(connection, WHOLE)
    await answer.close()
    assert pool.idle == [connection]
    assert not transport.is_aborted


@pytest.mark.parametrize(
    "content", [CHUNKED, CHUNKED + b"x", WHOLE + b"H", WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")]
)
async def test_a_connection_whose_answer_is_incomplete_or_the_last_is_closed_at_once(
    connection: Connection, pool: Pool, transport: Transport, content: bytes
) -> None:
    answer = await begun(connection, content)
    await answer.close()
    assert pool.idle == []
    assert transport.is_aborted


async def test_what_comes_though_nothing_was_asked_closes_the_connection(
    connection: Connection, transport: Transport
) -> None:
    connection.data_received(WHOLE)
    assert transport.is_aborted


async def test_what_comes_behind_an_answer_closes_the_connection_and_the_answer_stays_whole(
    connection: Connection, pool: Pool, transport: Transport
) -> None:
    answer = await begun(connection, WHOLE)
    connection.data_received(b"\r\n")
    assert transport.is_aborted
    connection.connection_lost(None)
    assert [await answer.read(), await answer.read()] == [b"ab", b""]
    await answer.close()
    assert pool.idle == []


async def test_a_client_that_leaves_before_the_answer_closes_the_connection_at_once(
    connection: Connection, transport: Transport
) -> None:
    exchange = asyncio.ensure_future(connection.exchange("POST", HEAD, b""))
    await settled()
    exchange.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange
    assert transport.is_aborted


async def test_more_than_64_kib_unread_hold_the_upstream_back_until_they_are_read(
    connection: Connection, pool: Pool, transport: Transport
) -> None:
    answer = await begun(connection, CHUNKED + b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
    connection.data_received(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
    assert transport.reads  # just 64 KiB
    connection.data_received(b"1\r\nx\r\n")
    assert not transport.reads
    for _ in range(2):
        await answer.read()
        assert not transport.reads
    await answer.read()
    assert transport.reads
    connection.data_received(b"10001\r\n" + b"x" * 0x10001 + b"\r\n0\r\n\r\n")
    assert not transport.reads
    await answer.close()
    assert transport.reads  # for the next exchange
    assert pool.idle == [connection]


async def test_a_lost_connection_tells_whoever_waits(connection: Connection, pool: Pool) -> None:
    exchange = asyncio.ensure_future(connection.exchange("POST", HEAD, b""))
    await settled()
    connection.connection_lost(None)
    with pytest.raises(DroppedError):
        await exchange
    assert pool.idle == []


async def test_a_connection_that_is_lost_when_idle_is_forgotten(connection: Connection, pool: Pool) -> None:
    await (await begun(connection, WHOLE)).close()
    connection.connection_lost(None)
    assert pool.idle == []


async def test_an_upload_goes_on_while_the_answer_comes(
    connection: Connection, pool: Pool, transport: Transport, upload: Upload
) -> None:
    upload.pieces.put_nowait(b"a")
    answer = await begun(connection, CHUNKED, upload)
    upload.pieces.put_nowait(b"b")
    await settled()
    assert transport.written == [HEAD, b"a", b"b"]
    connection.data_received(b"1\r\nx\r\n")
    assert await answer.read() == b"x"
    upload.pieces.put_nowait(None)
    await settled()
    connection.data_received(b"0\r\n\r\n")
    assert await answer.read() == b""
    await answer.close()
    assert pool.idle == [connection]


async def test_an_upload_waits_while_the_upstream_takes_no_more(
    connection: Connection, transport: Transport, upload: Upload
) -> None:
    answer = await begun(connection, CHUNKED, upload)
    connection.pause_writing()
    for piece in (b"a", b"b"):
        upload.pieces.put_nowait(piece)
    await settled()
    assert transport.written == [HEAD, b"a"]
    connection.resume_writing()
    await settled()
    assert transport.written == [HEAD, b"a", b"b"]
    await answer.close()


@pytest.mark.parametrize("is_held_up", [False, True])
async def test_an_upload_is_given_up_with_its_answer_and_its_connection_is_not_used_again(
    connection: Connection, pool: Pool, transport: Transport, upload: Upload, *, is_held_up: bool
) -> None:
    answer = await begun(connection, WHOLE, upload)
    if is_held_up:
        connection.pause_writing()
        upload.pieces.put_nowait(b"a")
        await settled()
    await answer.close()
    assert upload.is_given_up or is_held_up
    assert len(asyncio.all_tasks()) == 1  # the test itself
    assert transport.is_aborted
    assert pool.idle == []


@pytest.mark.parametrize("content", [b"", CHUNKED])
async def test_an_upload_that_fails_closes_the_connection_and_its_error_comes_as_it_is(
    connection: Connection, transport: Transport, upload: Upload, content: bytes
) -> None:
    async def whole() -> None:
        answer = await connection.exchange("POST", HEAD, upload)
        try:
            await answer.read()
        finally:
            await answer.close()

    exchange = asyncio.ensure_future(whole())
    await settled()
    if content:
        connection.data_received(content)
    upload.pieces.put_nowait(KeyError("the client"))
    with pytest.raises(KeyError, match="the client"):
        await exchange
    assert transport.is_aborted
    assert transport.written == [HEAD]


async def test_a_connection_on_which_a_body_is_still_on_its_way_is_not_used_again(
    connection: Connection, pool: Pool, transport: Transport
) -> None:
    connection.pause_writing()
    answer = await begun(connection, WHOLE, b"much")
    await answer.close()
    assert transport.is_aborted
    assert pool.idle == []


async def test_a_lost_connection_ends_the_upload(connection: Connection, upload: Upload) -> None:
    answer = await begun(connection, CHUNKED, upload)
    connection.connection_lost(None)
    await settled()
    assert upload.is_given_up
    with pytest.raises(BrokenAnswerError):
        await answer.read()
    await answer.close()
