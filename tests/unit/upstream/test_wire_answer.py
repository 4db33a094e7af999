"""What counts as an answer, where it ends, and what is no answer: bytes in, head and pieces out, without a socket."""

from __future__ import annotations

import asyncio
import errno

import pytest

from proxy.upstream.wire_answer import Answer, BrokenAnswerError, DroppedError, NoAnswerError

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS = b"HTTP/1.0 200 OK\r\n\r\n"
TWO_BYTES = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
CHUNKED_END = b"0\r\n\r\n"


class Connection:
    """Counts how often everything was read."""

    def __init__(self) -> None:
        self.times_read = 0

    def all_read(self) -> None:
        self.times_read += 1


def fed(*reads: bytes, method: str = "GET") -> Answer:
    """An answer that came in these reads; nothing is fed once it is over, as by the connection."""
    answer = Answer(Connection(), method)
    for content in reads:
        answer.feed(content)
    return answer


async def pieces(answer: Answer) -> list[bytes]:
    await answer.begun()
    found = []
    while piece := await answer.read():
        found.append(piece)
    return found


def one_by_one(content: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in content]


async def test_an_answer_is_the_same_however_it_was_cut_on_its_way() -> None:
    content = b"HTTP/1.1 404 not  f\xc3\xb6und\r\nX-A: b c \t\r\nx-a:\xff\r\nX-Empty:\r\nContent-Length: 3\r\n\r\nabc"
    for reads in ([content], one_by_one(content)):
        answer = fed(*reads)
        assert b"".join(await pieces(answer)) == b"abc"
        assert (answer.status, answer.reason) == (404, "not  f\u00f6und")
        expected = [("X-A", "b c"), ("x-a", "\u00ff"), ("X-Empty", ""), ("Content-Length", "3")]
        assert list(answer.headers.items()) == expected
        assert answer.is_complete
        assert not answer.is_last


async def test_chunks_that_came_together_stay_apart_and_one_that_came_in_two_reads_waits_for_nothing() -> None:
    assert await pieces(fed(CHUNKED + b"1\r\na\r\n2;x=y\r\nbc\r\n" + CHUNKED_END)) == [b"a", b"bc"]
    answer = fed(CHUNKED + b"4\r\nab")
    assert await answer.read() == b"ab"
    answer.feed(b"cd\r\n")
    assert await answer.read() == b"cd"


async def test_whoever_reads_waits_for_what_is_not_there_yet() -> None:
    answer = fed()
    reading = asyncio.ensure_future(pieces(answer))
    for content in (CHUNKED, b"1\r\na\r\n", CHUNKED_END):
        await asyncio.sleep(0)
        assert not reading.done()
        answer.feed(content)
    assert await reading == [b"a"]


async def test_pieces_are_handed_on_at_once_while_they_are_taken_and_the_last_one_is_left_to_be_read() -> None:
    answer, taken = fed(CHUNKED), []
    passing = asyncio.ensure_future(answer.pass_on(lambda piece: taken.append(piece) is None))
    await asyncio.sleep(0)
    answer.feed(b"1\r\na\r\n1\r\nb\r\n")
    assert (taken, answer.unread_bytes) == ([b"a", b"b"], 0)
    await asyncio.sleep(0)
    assert not passing.done()
    answer.feed(b"1\r\nc\r\n" + CHUNKED_END)
    await passing
    assert taken == [b"a", b"b"]
    assert await pieces(answer) == [b"c"]


async def test_a_piece_that_is_refused_is_left_to_be_read_and_so_is_all_behind_it() -> None:
    answer = fed(CHUNKED)
    passing = asyncio.ensure_future(answer.pass_on(lambda piece: piece != b"b"))
    await asyncio.sleep(0)
    answer.feed(b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n")
    assert answer.unread_bytes == 2
    await passing
    answer.feed(b"1\r\nd\r\n" + CHUNKED_END)
    assert await pieces(answer) == [b"b", b"c", b"d"]


async def test_what_is_there_already_is_handed_on_as_well() -> None:
    connection = Connection()
    answer, taken = Answer(connection, "GET"), []
    answer.feed(CHUNKED + b"1\r\na\r\n")
    passing = asyncio.ensure_future(answer.pass_on(lambda piece: taken.append(piece) is None))
    await asyncio.sleep(0)
    assert taken == [b"a"]
    assert connection.times_read == 1  # or nothing more would come after a pause
    answer.feed(CHUNKED_END)
    await passing
    assert await pieces(answer) == []


async def test_nothing_is_handed_on_of_an_answer_that_is_over() -> None:
    answer = fed(CHUNKED + b"1\r\na\r\n" + CHUNKED_END)
    await answer.pass_on(lambda piece: pytest.fail(f"{piece!r} was handed on"))
    assert await pieces(answer) == [b"a"]


async def test_an_answer_that_breaks_off_while_it_is_handed_on_leaves_what_came_before_to_be_read() -> None:
    answer = fed(CHUNKED)
    passing = asyncio.ensure_future(answer.pass_on(lambda _: True))
    await asyncio.sleep(0)
    answer.feed(b"1\r\na\r\n1\r\nb")
    answer.lost(None)
    await passing
    with pytest.raises(BrokenAnswerError, match="it closed the connection"):
        await answer.read()


async def test_nobody_takes_pieces_any_more_once_who_waited_is_gone() -> None:
    answer, taken = fed(CHUNKED), []
    passing = asyncio.ensure_future(answer.pass_on(lambda piece: taken.append(piece) is None))
    await asyncio.sleep(0)
    passing.cancel()
    await asyncio.wait([passing])
    answer.feed(b"1\r\na\r\n")
    assert (taken, answer.unread_bytes) == ([], 1)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
@pytest.mark.parametrize("header", [b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_a_status_without_a_body_has_none(status: bytes, header: bytes) -> None:
    answer = fed(b"HTTP/1.1 " + status + b"\r\n" + header + b"\r\n")
    assert await pieces(answer) == []
    assert not answer.is_last


@pytest.mark.parametrize("rest", [b"", b"hello"])
async def test_an_answer_to_head_has_no_body_and_is_the_last_on_its_connection(rest: bytes) -> None:
    answer = fed(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + rest, method="HEAD")
    assert await pieces(answer) == []
    assert answer.headers["Content-Length"] == "5"
    assert answer.is_last


async def test_interim_answers_and_their_headers_are_not_the_answer() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    answer = fed(*one_by_one(interim + TWO_BYTES + b"ab"))
    assert b"".join(await pieces(answer)) == b"ab"
    assert (answer.status, answer.reason, list(answer.headers)) == (200, "OK", ["Content-Length"])


async def test_trailers_stay_behind() -> None:
    answer = fed(CHUNKED + b"1\r\na\r\n0\r\nX-After: 1\r\n\r\n")
    assert await pieces(answer) == [b"a"]
    assert list(answer.headers) == ["Transfer-Encoding"]


@pytest.mark.parametrize(
    ("head", "is_last"),
    [
        (b"HTTP/1.1 200 OK\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: x, CLOSE\r\n", True),
        (b"HTTP/1.0 200 OK\r\n", True),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", False),
    ],
)
async def test_a_connection_lasts_as_the_answer_says(head: bytes, *, is_last: bool) -> None:
    answer = fed(head + b"Content-Length: 0\r\n\r\n")
    assert await pieces(answer) == []
    assert answer.is_last is is_last


@pytest.mark.parametrize("leftover", [b"H", TWO_BYTES + b"cd", b"\0"])
async def test_what_follows_an_answer_does_not_belong_to_it_and_ends_the_connection(leftover: bytes) -> None:
    answer = fed(TWO_BYTES + b"ab" + leftover)
    assert await pieces(answer) == [b"ab"]
    assert answer.is_last


async def test_a_body_without_a_length_ends_with_its_connection() -> None:
    answer = fed(ENDLESS + b"ab", b"c")
    answer.lost(None)
    assert await pieces(answer) == [b"ab", b"c"]
    assert answer.is_last


async def test_a_body_without_a_length_does_not_end_with_a_reset() -> None:
    answer = fed(ENDLESS + b"ab")
    answer.lost(ConnectionResetError(errno.ECONNRESET, "x"))
    assert await answer.read() == b"ab"
    with pytest.raises(BrokenAnswerError, match=r"^Connection reset by peer$"):
        await answer.read()


@pytest.mark.parametrize(
    "content", [TWO_BYTES, TWO_BYTES + b"a", CHUNKED, CHUNKED + b"1\r\na\r\n", CHUNKED + b"5\r\na"]
)
async def test_a_body_with_an_end_of_its_own_does_not_end_with_its_connection(content: bytes) -> None:
    answer = fed(content)
    answer.lost(None)
    with pytest.raises(BrokenAnswerError, match="closed"):
        await pieces(answer)


@pytest.mark.parametrize("rest", [b"x\r\n", b"1\r\nab\r\n", b"1\nx\n", b"-1\r\n", b"fffffffffffffffff\r\n", b"\r\n"])
async def test_a_malformed_chunk_breaks_the_answer_off(rest: bytes) -> None:
    answer = fed(CHUNKED + b"2\r\nok\r\n", rest)
    assert await answer.read() == b"ok"
    with pytest.raises(BrokenAnswerError, match="proper HTTP"):
        await pieces(answer)
    assert answer.is_over
    assert not answer.is_complete


@pytest.mark.parametrize(
    "content",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 200 a\0b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
    ],
)
async def test_what_is_no_proper_head_is_no_answer(content: bytes) -> None:
    answer = fed(content)
    with pytest.raises(NoAnswerError, match=r"^it does not answer in proper HTTP: .") as error:
        await answer.begun()
    assert not isinstance(error.value, DroppedError)
    assert answer.is_over


def endless_header() -> list[bytes]:
    return [b"HTTP/1.1 200 OK\r\nX: ", *[b"x" * 2**16] * 5]


def endless_interim_answers() -> list[bytes]:
    return [b"HTTP/1.1 100 Continue\r\n\r\n" * 3000] * 5


@pytest.mark.parametrize("reads", [endless_header(), endless_interim_answers()])
async def test_a_head_without_end_is_no_answer(reads: list[bytes]) -> None:
    answer = fed()
    for content in reads:
        if not answer.is_over:
            answer.feed(content)
    with pytest.raises(NoAnswerError, match="256 KiB"):
        await answer.begun()


@pytest.mark.parametrize("start", [b"1;", b"0\r\nX-Trailer: "])
async def test_an_extension_or_trailer_without_end_breaks_the_answer_off(start: bytes) -> None:
    answer = fed(CHUNKED + start, *[b"x" * 2**16] * 5)
    with pytest.raises(BrokenAnswerError, match="256 KiB"):
        await answer.read()


async def test_a_long_body_in_small_chunks_is_nothing_to_complain_of() -> None:
    answer = fed(CHUNKED, *[b"1;%b\r\na\r\n" % (b"x" * 1000)] * 300, CHUNKED_END)
    assert await pieces(answer) == [b"a"] * 300


@pytest.mark.parametrize(
    ("reads", "kind"), [((), DroppedError), ((b"H",), NoAnswerError), ((CHUNKED,), BrokenAnswerError)]
)
async def test_the_error_tells_how_far_the_answer_came(reads: tuple[bytes, ...], kind: type[Exception]) -> None:
    answer = fed(*reads)
    answer.lost(None)
    with pytest.raises(kind) as error:
        await pieces(answer)
    assert type(error.value) is kind


async def test_the_connection_hears_when_everything_was_read() -> None:
    connection = Connection()
    answer = Answer(connection, "GET")
    answer.feed(CHUNKED + b"2\r\nab\r\n3\r\ncde\r\n")
    assert answer.unread_bytes == 5
    await answer.read()
    assert (answer.unread_bytes, connection.times_read) == (3, 0)
    await answer.read()
    assert (answer.unread_bytes, connection.times_read) == (0, 1)
