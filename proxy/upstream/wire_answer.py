"""One answer of the upstream: its head, and its body piece by piece as it came. Never writes and never joins pieces.

httptools reads the messages, strictly; what is decided here is what counts as an answer, and where it ends.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections import deque
from typing import TYPE_CHECKING

import httptools
from multidict import CIMultiDict

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.upstream.wire_connection import Connection

_MOST_OVERHEAD_BYTES = 2**18
_FIRST_STATUS, _FIRST_FINAL_STATUS, _SWITCHING_PROTOCOLS = 100, 200, 101


class NoAnswerError(Exception):
    """No answer began; the text is the reason in plain English."""


class DroppedError(NoAnswerError):
    """The connection ended before any byte of an answer came."""


class BrokenAnswerError(Exception):
    """The answer broke off or became malformed; the text is the reason in plain English."""


class Answer:
    """What the upstream says to one request; to be closed when nobody reads on, whether it is complete or not.

    Attributes:
        status: 200 to 999.
        reason: what stands behind the status, may be empty.
        headers: in order and spelt as they came; what is no UTF-8 is read as Latin-1.
        is_complete: the end of the answer is here, though maybe not read yet.
        is_last: the connection can't bring another answer.
        unread_bytes: how much of the body is here and not read yet.
    """

    def __init__(self, connection: Connection, method: str) -> None:
        self.status = 0
        self.reason = ""
        self.headers: CIMultiDict[str] = CIMultiDict()
        self.is_complete = False
        self.is_last = True
        self.unread_bytes = 0
        self._connection = connection
        self._method = method
        self._pieces: deque[bytes] = deque()
        self._is_heard = self._has_begun = False
        self._reason = b""
        self._overhead_bytes = 0
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._take: Callable[[bytes], bool] | None = None
        self._parser = httptools.HttpResponseParser(self)

    async def begun(self) -> None:
        """Wait until status and headers are here.

        Raises:
            NoAnswerError: they won't come. What reading the request's body raised comes as it is.
        """
        while not self._has_begun:
            await self._more()

    async def read(self) -> bytes:
        """Return the next piece of the body, an HTTP chunk or what one read brought of it; empty: that was all.

        Raises:
            BrokenAnswerError: the rest won't come. What reading the request's body raised comes as it is.
        """
        while not self._pieces:
            if self.is_complete:
                return b""
            await self._more()
        piece = self._pieces.popleft()
        self.unread_bytes -= len(piece)
        if not self._pieces:
            self._connection.all_read()
        return piece

    async def pass_on(self, take: Callable[[bytes], bool]) -> None:
        """Hand each piece to `take` as it comes, until it refuses one (False) or the end is here; then `read`.

        So nobody has to be woken for each piece, about a tenth of what a small one costs.
        """
        if self.is_over or not self._hand_on(take):
            return
        self._take = take
        try:
            await self._more()
        finally:
            self._take = None

    async def close(self) -> None:
        """Give the connection back, or close it at once if it is of no use any more; to be called once."""
        await self._connection.release()

    async def _more(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    # What the connection tells.

    @property
    def is_over(self) -> bool:
        """Nothing more is expected."""
        return self.is_complete or self._error is not None

    def feed(self, content: bytes) -> None:
        """Read what came; the answer is not over yet."""
        self._is_heard = True
        self._overhead_bytes += len(content)
        try:
            self._parser.feed_data(content)
        except httptools.HttpParserError as error:
            self._malformed(str(error.__context__ or error))
        if self._overhead_bytes > _MOST_OVERHEAD_BYTES:
            self._malformed(f"more than {_MOST_OVERHEAD_BYTES >> 10} KiB without content")
        self._tell()

    def lost(self, error: Exception | None) -> None:
        """The connection is gone: without an error that may be how the body ends."""
        is_framed = "Content-Length" in self.headers or "Transfer-Encoding" in self.headers
        if self._has_begun and error is None and not is_framed:
            self.is_complete = True
        else:
            self._error = self._kind()("it closed the connection" if error is None else reason_of(error))
        self._tell()

    def fail(self, error: BaseException) -> None:
        """Let who waits or reads see this error."""
        self._error = error
        self._tell()

    def _malformed(self, what: str) -> None:
        self.is_last = True  # even if it is complete
        self._error = self._kind()(f"it does not answer in proper HTTP: {what}")

    def _tell(self) -> None:
        if self.is_over:
            del self._parser  # it refers to this answer
        elif self._take is not None and self._hand_on(self._take):
            return
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _hand_on(self, take: Callable[[bytes], bool]) -> bool:
        """Hand on what is here, and tell whether all of it was taken."""
        while self._pieces and take(self._pieces[0]):
            self.unread_bytes -= len(self._pieces.popleft())
        if self._pieces:
            return False
        self._connection.all_read()
        return True

    def _kind(self) -> type[NoAnswerError | BrokenAnswerError]:
        if self._has_begun:
            return BrokenAnswerError
        return NoAnswerError if self._is_heard else DroppedError

    # What the parser tells; what is raised here ends the parsing.

    def on_message_begin(self) -> None:
        """Only interim answers have another one behind them."""
        if self.is_complete:
            raise ValueError("two answers to one request")

    def on_status(self, text: bytes) -> None:
        """Take a piece of the reason."""
        self._reason += text

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; one behind the body belongs to the connection."""
        if not self._has_begun:
            self.headers.add(name.decode("ascii"), _text(value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """Begin the answer, or forget an interim one."""
        self.status = self._parser.get_status_code()
        if self.status < _FIRST_FINAL_STATUS:
            if self.status < _FIRST_STATUS or self.status == _SWITCHING_PROTOCOLS:
                raise ValueError(f"status {self.status}")
            self._reason = b""
            self.headers.clear()
            return
        self.reason = _text(self._reason)
        if not self.reason.isprintable():
            raise ValueError(f"reason {self.reason!r}")
        codings = self.headers.getall("Transfer-Encoding", None)
        if codings is not None and (
            len(codings) > 1 or codings[0].lower() != "chunked" or self._parser.get_http_version() == "1.0"
        ):
            raise ValueError(f"Transfer-Encoding {', '.join(codings)}")
        self._has_begun = True
        self._overhead_bytes = 0
        if self._method == "HEAD":
            self.is_complete = True
            raise ValueError("httptools can't be told that no body follows, so nothing else can either")

    def on_body(self, piece: bytes) -> None:
        """Take a chunk, or what came of it; an interim answer has none."""
        if not self._has_begun:
            raise ValueError(f"status {self.status} with a body")
        self._pieces.append(piece)
        self.unread_bytes += len(piece)
        self._overhead_bytes = 0

    def on_message_complete(self) -> None:
        """End the answer, unless it was an interim one."""
        if self._has_begun:
            self.is_complete = True
            self.is_last = not self._parser.should_keep_alive()


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def reason_of(error: Exception) -> str:
    """Return in plain English why connecting, reading or writing did not work."""
    if isinstance(error, ssl.SSLError | socket.gaierror):  # whose errno is none of the system's
        return error.strerror or str(error)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
