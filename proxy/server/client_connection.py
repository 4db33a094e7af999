"""How aiohttp serves a client's connection, but for what it gets wrong about HTTP that is malformed, odd or unfinished.

Reads no request and answers none but those that can't be read as HTTP; all else is aiohttp's own.
"""

from __future__ import annotations

import logging
import select
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD

from proxy.server.answer import SERVER
from proxy.upstream.errors import error_body

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.streams import StreamReader

_NO_REST = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_LOOK_SECONDS = 1.0
_log = logging.getLogger(__name__)


def error_answer(
    path: str, status: HTTPStatus, message: str, more: Mapping[str, str] = MappingProxyType({})
) -> web.Response:
    """Build an error in the shape of the API that was called; the connection is closed behind it."""
    headers = {"Content-Type": "application/json", "Connection": "close", "Server": SERVER, **more}
    response = web.Response(status=status, body=error_body(path, status, message), headers=headers)
    response.force_close()
    return response


class SilentClientError(web.RequestPayloadError):
    """The client sent nothing more in the middle of a body: answer with 408, if no answer began yet."""


class ClientServer(web.Server):
    """A server whose connections are ClientConnections."""

    def __call__(self) -> ClientConnection:
        """Serve a new connection."""
        return ClientConnection(self, loop=self._loop, **self._kwargs)

    def _make_request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        """Let a request be the last one where aiohttp 3.14's parser loses its place behind it.

        What follows a chunked body as trailer it takes for a header of the next request, and what came in one read with
        an offer to upgrade to anything but websocket it throws away.
        """
        if message.chunked or message.upgrade:
            message = message._replace(should_close=True)
        return super()._make_request(message, payload, protocol, writer, task)


class ClientConnection(web.RequestHandler):
    """One connection of a client."""

    __slots__ = ("_arriving", "_patience", "_pause_seconds")

    def __init__(
        self,
        manager: web.Server,
        *,
        pause_seconds: Callable[[], float],
        **settings: Any,  # noqa: ANN401 - aiohttp's own
    ) -> None:
        super().__init__(manager, **settings)
        self._arriving: StreamReader = EMPTY_PAYLOAD
        self._pause_seconds = pause_seconds
        self._patience: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Take what came; where it is malformed, whoever reads the body that it belongs to hears of it.

        aiohttp's own only lets a 400 wait behind the request whose body that is: for ever, as the body never ends.
        """
        super().data_received(data)
        if self._messages:
            message, payload = self._messages[-1]
            if isinstance(message, RawRequestMessage):
                self._arriving = payload
            elif not self._arriving.is_eof():
                self._arriving.set_exception(web.RequestPayloadError(message.message))
        self._wait_for_the_rest()

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's own
        """Go on reading if it was paused; aiohttp's own asks parser and system for more after each piece."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Wait for nothing more, and leave no circle of references that would have to be searched for."""
        if self._patience is not None:
            self._patience.cancel()
        super().connection_lost(exc)
        self._arriving = EMPTY_PAYLOAD

    def _wait_for_the_rest(self) -> None:
        """Of a head or a body that is not all here; aiohttp's own would wait for ever."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        is_half_a_head = self._current_request is None and not self._messages
        if is_half_a_head or not self._arriving.is_eof():
            look = self._look_after_it if self._reading_paused else self._give_up
            self._patience = self._loop.call_later(
                _LOOK_SECONDS if self._reading_paused else self._pause_seconds(), look
            )

    def _look_after_it(self) -> None:
        """Nothing is read because the upstream pauses: so a reset is not read either, but the system knows of it."""
        if self.transport is not None and is_reset(self.transport.get_extra_info("socket").fileno()):
            self.transport.abort()
        self._wait_for_the_rest()

    def _give_up(self) -> None:
        if not self._arriving.is_eof():
            self._arriving.set_exception(SilentClientError("the rest of the request did not come (limits.pause)"))
        elif self.transport is not None:
            self.transport.write(_NO_REST)
            self.transport.close()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what can't be read as HTTP, which is no error of ours and none of its bytes the log's business."""
        if status != HTTPStatus.BAD_REQUEST:
            return super().handle_error(request, status, exc, message)
        _log.debug("refused what %s sent, it is not proper HTTP: %s", request.remote, type(exc).__name__)
        return error_answer("", HTTPStatus.BAD_REQUEST, not_http(message or ""))

    def log_exception(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as logging has it
        """Pass over what was answered already: a body that is malformed is so for whoever reads the rest of it too."""
        if not isinstance(kwargs.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kwargs)


def not_http(problem: str) -> str:
    """Say that a request can't be read, and why, by the first line of what aiohttp says."""
    first_line = problem.strip().partition("\n")[0]
    return f"keepwarm can't read this request as HTTP/1.1: {first_line.rstrip(':.')}"


def is_reset(descriptor: int) -> bool:
    """Tell whether the other side has reset a connection that nothing is read from; False where that can't be told."""
    if not hasattr(select, "poll"):  # Windows
        return False
    poll = select.poll()
    poll.register(descriptor, 0)  # errors are told unasked
    return any(what & (select.POLLHUP | select.POLLERR) for _, what in poll.poll(0))
