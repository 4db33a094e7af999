"""Sends one request to the upstream and streams the answer back, chunk by chunk; decides nothing, buffers nothing.

Reading and writing errors are kept apart: a client that left is never blamed on the upstream, and an answer that breaks
off upstream is aborted towards the client, never ended as if it were complete.
"""

from __future__ import annotations

import socket
import struct
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from aiohttp import web
from multidict import CIMultiDict

from proxy.server.answer import RelayedAnswer
from proxy.server.client_connection import SilentClientError, not_http
from proxy.server.headers import OF_A_READ_REQUEST, OF_A_REQUEST, end_to_end
from proxy.server.refusal import origin_form
from proxy.upstream.wire_answer import BrokenAnswerError, NoAnswerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from proxy.upstream.wire import UpstreamPool
    from proxy.upstream.wire_answer import Answer


class UpstreamUnreachableError(Exception):
    """No answer began: nothing was sent to the client yet."""


class UpstreamBrokeError(Exception):
    """The answer broke off: the client's connection was aborted."""


class ClientLeftError(Exception):
    """The client went away while its body was being read or the answer written."""


class UnusableBodyError(ClientLeftError):
    """The client's body turned out to be malformed, or does not come: to be answered, if no answer began yet.

    Attributes:
        status: what to answer with; the text is the reason.
    """

    def __init__(self, error: web.RequestPayloadError) -> None:
        is_missing = isinstance(error, SilentClientError)
        super().__init__(str(error) if is_missing else not_http(str(error)))
        self.status = HTTPStatus.REQUEST_TIMEOUT if is_missing else HTTPStatus.BAD_REQUEST


class Watcher(Protocol):
    """Looks on while an answer passes by.

    Attributes:
        to_upstream: headers that the request gets, in place of the client's.
        to_client: headers that the answer gets, in place of the upstream's.
    """

    to_upstream: Mapping[str, str]
    to_client: Mapping[str, str]

    def started(self, status: int, headers: Mapping[str, str]) -> None:
        """Called with the status and headers of the upstream's answer when it begins, before its body."""

    def chunk(self, content: bytes) -> None:
        """Called with each chunk as it is written to the client."""


class Relay:
    """The way to one upstream and back."""

    def __init__(self, pool: UpstreamPool) -> None:
        self._pool = pool

    async def exchange(
        self, request: web.BaseRequest, body: bytes | None, watcher: Watcher, dropped: tuple[str, ...] = ()
    ) -> web.StreamResponse:
        """Forward the request, with `body` in place of its own if given, without some headers, and its answer.

        Raises:
            UpstreamUnreachableError: answer the client with 502.
            UnusableBodyError: answer it with what that says.
            UpstreamBrokeError, ClientLeftError: nothing more can be answered.
        """
        answer = await self._send(request, body, dropped, watcher.to_upstream)
        try:
            watcher.started(answer.status, answer.headers)
            return await _answer(request, answer, watcher)
        finally:
            await answer.close()

    async def whole(
        self, request: web.BaseRequest, dropped: tuple[str, ...], most: int
    ) -> tuple[int, CIMultiDict[str], bytes]:
        """Forward the request and read its whole answer: status, headers, and at most so many bytes.

        Raises:
            UpstreamUnreachableError: answer the client with 502.
            UnusableBodyError: answer it with its status.
            ClientLeftError: nothing more can be answered.
        """
        answer = await self._send(request, None, (*dropped, "accept-encoding"), {})
        parts, size = [], 0
        try:
            while chunk := await answer.read():
                parts.append(chunk)
                size += len(chunk)
                if size > most:
                    raise UpstreamUnreachableError(f"Ollama's answer is larger than {most} bytes")
        except BrokenAnswerError as error:
            raise UpstreamUnreachableError(f"Ollama's answer broke off: {error}") from error
        finally:
            await answer.close()
        return answer.status, CIMultiDict(end_to_end(answer.headers, OF_A_READ_REQUEST)), b"".join(parts)

    async def _send(
        self, request: web.BaseRequest, body: bytes | None, dropped: tuple[str, ...], added: Mapping[str, str]
    ) -> Answer:
        """Nothing is parsed or normalised: all of the target stands as the path."""
        own = OF_A_REQUEST if body is None else OF_A_READ_REQUEST
        headers = end_to_end(request.headers, own.union(dropped) if dropped else own)
        if added:
            headers = [(name, value) for name, value in headers if name.lower() not in added]
            headers += added.items()
        content = _upload(request) if body is None and request.can_read_body else body
        try:
            return await self._pool.exchange(request.method, origin_form(request.raw_path), headers, content)
        except NoAnswerError as error:
            if request.transport is None:
                raise ClientLeftError from error
            raise UpstreamUnreachableError(f"keepwarm can't reach Ollama at {self._pool.url}: {error}") from error


async def _upload(request: web.BaseRequest) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.content.iter_any():
            yield chunk
    except web.RequestPayloadError as error:
        raise UnusableBodyError(error) from error
    except OSError as error:
        raise ClientLeftError from error


async def _answer(request: web.BaseRequest, answer: Answer, watcher: Watcher) -> web.StreamResponse:
    """Write piece by piece what comes; head and end travel with a piece where they can."""
    relayed = RelayedAnswer(request, answer, watcher.to_client)

    def take(piece: bytes) -> bool:
        if not relayed.write_now(piece):
            return False
        watcher.chunk(piece)
        return True

    try:
        await relayed.prepare(request)
        if not answer.unread_bytes and not answer.is_complete:
            relayed.send_head()
            await answer.pass_on(take)
        while chunk := await answer.read():
            watcher.chunk(chunk)
            if answer.is_complete and not answer.unread_bytes:
                await relayed.write_eof(chunk)
                break
            await relayed.write(chunk)
            await answer.pass_on(take)
    except ConnectionResetError as error:
        raise ClientLeftError from error
    except BrokenAnswerError as error:
        _abort(request)
        raise UpstreamBrokeError(str(error)) from error
    except ClientLeftError:  # found out while its body was read on
        _abort(request)
        raise
    return relayed


def _abort(request: web.BaseRequest) -> None:
    """Reset the client's connection: without chunks (HTTP/1.0) a plain end would look like the end of the answer."""
    transport = request.transport
    if transport is not None:
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
