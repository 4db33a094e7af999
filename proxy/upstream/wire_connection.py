"""One connection to the upstream: a request out, its answer in, at the slower side's pace. Never reused in doubt."""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, Protocol, cast

from proxy.upstream.wire_answer import Answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_MOST_UNREAD_BYTES = 2**16


class Pool(Protocol):
    """Where a connection is when it is not in use."""

    def take_back(self, connection: Connection) -> None:
        """The connection can carry another request."""

    def forget(self, connection: Connection) -> None:
        """The connection is gone, in use or not."""


class Connection(asyncio.Protocol):
    """Carries one exchange at a time."""

    _transport: asyncio.Transport

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._answer: Answer | None = None
        self._upload: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._is_held = False
        self._look: Callable[[], object] | None = None

    @property
    def is_usable(self) -> bool:
        """Nothing speaks against another request."""
        return not self._transport.is_closing()

    @property
    def has_news(self) -> bool:
        """Something came that nobody has read yet; on an idle connection that can only be its end."""
        if self._look is None:
            self._look = _look_at(self._transport.get_extra_info("socket").fileno())
        return bool(self._look())

    async def exchange(self, method: str, head: bytes, body: bytes | AsyncIterator[bytes] | None) -> Answer:
        """Send a request and return its answer as soon as that begins.

        Args:
            method: as in the head.
            head: the request up to its empty line.
            body: what is sent behind it; an iterator's pieces must be framed already. It is read on until the answer
                is closed.

        Raises:
            NoAnswerError: no answer began. What reading the body raised comes as it is.
        """
        answer = self._answer = Answer(self, method)
        if body is None or isinstance(body, bytes):
            self._transport.write(head + body if body else head)
        else:
            self._transport.write(head)
            self._upload = asyncio.get_running_loop().create_task(self._send(body))
            self._upload.add_done_callback(self._sent)
        try:
            await answer.begun()
        except BaseException:
            await self.release()
            raise
        return answer

    async def release(self) -> None:
        """End the exchange: the connection goes back to the pool, or is closed at once if anything is unfinished."""
        answer, self._answer = self._answer, None
        upload = self._upload
        is_sent = upload is None and self._writable is None
        is_answered = answer is not None and answer.is_complete and not answer.is_last
        if is_sent and is_answered and self.is_usable:
            self.all_read()
            self._pool.take_back(self)
            return
        self._transport.abort()
        if upload is not None:
            upload.cancel()
            await asyncio.wait([upload])  # nobody else can read the client's body before

    def abort(self) -> None:
        """Close at once; what is not sent yet is lost."""
        self._transport.abort()

    def all_read(self) -> None:
        """Go on receiving if that was held back."""
        if self._is_held:
            self._is_held = False
            if self.is_usable:
                self._transport.resume_reading()

    async def _send(self, body: AsyncIterator[bytes]) -> None:
        async for piece in body:
            self._transport.write(piece)
            if self._writable is not None:
                await self._writable

    def _sent(self, upload: asyncio.Task[None]) -> None:
        self._upload = None
        error = None if upload.cancelled() else upload.exception()
        if error is not None:
            self._transport.abort()
            if self._answer is not None and not self._answer.is_over:
                self._answer.fail(error)

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand it to the answer that is expected; where none is, the upstream is out of step."""
        answer = self._answer
        if answer is None or answer.is_over:
            self._transport.abort()
            return
        answer.feed(data)
        if answer.unread_bytes > _MOST_UNREAD_BYTES and not self._is_held:
            self._is_held = True
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """The upstream is slower than the upload."""
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """The upstream has caught up."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._pool.forget(self)
        if self._upload is not None:
            self._upload.cancel()
        if self._answer is not None and not self._answer.is_over:
            self._answer.lost(exc)


def _look_at(descriptor: int) -> Callable[[], object]:
    """Return what tells, by being true or false, whether something came on it."""
    if not hasattr(select, "poll"):  # Windows, where no descriptor is too high for the older call
        return lambda: select.select([descriptor], [], [], 0)[0]
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return lambda: poll.poll(0)
