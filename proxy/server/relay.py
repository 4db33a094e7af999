"""Sends one request to the upstream and streams the answer back, chunk by chunk; decides nothing, buffers nothing.

Reading and writing errors are kept apart: a client that left is never blamed on the upstream, and an answer that breaks
off upstream is aborted towards the client, never ended as if it were complete.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import aiohttp
from aiohttp import web
from yarl import URL

from proxy import __version__
from proxy.server.headers import end_to_end, spelt_alike

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Iterator

_SERVER = f"keepwarm/{__version__}"


class UpstreamUnreachableError(Exception):
    """No answer began: nothing was sent to the client yet."""


class UpstreamBrokeError(Exception):
    """The answer broke off: the client's connection was aborted."""


class ClientLeftError(Exception):
    """The client went away while the answer was being written."""


class Watcher(Protocol):
    """Looks on while an answer passes by."""

    def started(self, status: int) -> None:
        """Called with the status when the upstream's answer begins, before its body."""

    def chunk(self, content: bytes) -> None:
        """Called with each chunk before it is written to the client."""


class Relay:
    """The way to one upstream and back."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._upstream = URL(url.rstrip("/"))

    async def exchange(self, request: web.BaseRequest, body: bytes | None, watcher: Watcher) -> web.StreamResponse:
        """Forward the request, with `body` in place of its own if given, and its answer.

        Raises:
            UpstreamUnreachableError: answer the client with 502.
            UpstreamBrokeError, ClientLeftError: nothing more can be answered.
        """
        answer = await self._send(request, body)
        try:
            watcher.started(answer.status)
            with _broken_when_closed(answer):
                return await _answer(request, answer, watcher)
        finally:
            answer.close() if not answer.content.at_eof() else answer.release()

    def _target(self, request: web.BaseRequest) -> URL:
        """Nothing is parsed or normalised: all of the target stands as the path."""
        to = self._upstream
        path = to.raw_path.rstrip("/") + origin_form(request.raw_path)
        return URL.build(scheme=to.scheme, host=to.raw_host or "", port=to.port, path=path, encoded=True)

    async def _send(self, request: web.BaseRequest, body: bytes | None) -> aiohttp.ClientResponse:
        headers = end_to_end(request.headers, "host", "expect", *(("content-length",) if body is not None else ()))
        data: bytes | AsyncIterator[bytes] | None = body
        if body is None and request.can_read_body:
            data = _upload(request)
        try:
            return await self._session.request(
                request.method,
                self._target(request),
                headers=spelt_alike(headers),
                data=data,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if request.transport is None:
                raise ClientLeftError from error
            msg = f"keepwarm can't reach Ollama at {self._upstream}: {_reason(error)}"
            raise UpstreamUnreachableError(msg) from error


def origin_form(target: str) -> str:
    """Return a request's target without scheme and authority, which proxies are sent (RFC 9112 3.2.2)."""
    if target.startswith("/") or target == "*":
        return target
    path = target.partition("://")[2].partition("/")
    return path[1] + path[2] or "/"


async def _upload(request: web.BaseRequest) -> AsyncIterator[bytes]:
    async for chunk in request.content.iter_any():
        yield chunk


async def _answer(request: web.BaseRequest, answer: aiohttp.ClientResponse, watcher: Watcher) -> web.StreamResponse:
    headers = end_to_end(answer.headers)
    headers.setdefault("Server", _SERVER)
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    if "Content-Length" not in headers and request.version >= aiohttp.HttpVersion11:
        response.enable_chunked_encoding()
    try:
        await response.prepare(request)
    except ConnectionResetError as error:
        raise ClientLeftError from error
    while not answer.content.at_eof():
        try:
            chunk, _ = await answer.content.readchunk()
        except (aiohttp.ClientError, OSError) as error:
            _abort(request)
            raise UpstreamBrokeError(_reason(error)) from error
        if chunk:
            watcher.chunk(chunk)
            try:
                await response.write(chunk)
            except ConnectionResetError as error:
                raise ClientLeftError from error
    return response


@contextmanager
def _broken_when_closed(answer: aiohttp.ClientResponse) -> Iterator[None]:
    """Let reading fail when the connection is gone: after a malformed chunk aiohttp itself would wait for ever."""

    def fail(closed: asyncio.Future[None]) -> None:
        closed.exception()  # retrieved, so that nobody logs it
        if answer.content.exception() is None and not answer.content.is_eof():
            answer.content.set_exception(aiohttp.ClientPayloadError("the connection was closed in mid-answer"))

    protocol = answer.connection.protocol if answer.connection is not None else None
    closed = protocol.closed if protocol is not None else None
    if closed is None:  # the answer is complete already
        yield
        return
    closed.add_done_callback(fail)
    try:
        yield
    finally:
        closed.remove_done_callback(fail)  # the future lives as long as the pooled connection


def _abort(request: web.BaseRequest) -> None:
    """Reset the client's connection: without chunks (HTTP/1.0) a plain end would look like the end of the answer."""
    transport = request.transport
    if transport is not None:
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


def _reason(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.errno:
        return os.strerror(error.os_error.errno)
    return str(error) or type(error).__name__
