"""The way of clients' requests to the upstream: HTTP/1.1 with as little work per request as Python can do.

aiohttp's client costs more than all the rest of the relay. This one knows one upstream and no cookies, redirects,
compression, proxies or timeouts but one; what travels, it never changes.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING

from aiohappyeyeballs import start_connection
from yarl import URL

from proxy.upstream.wire_answer import DroppedError, NoAnswerError, reason_of
from proxy.upstream.wire_connection import Connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from proxy.upstream.wire_answer import Answer

_MOST_IDLE = 512
_IDLE_SECONDS = 15.0
_SURELY_OPEN_SECONDS = 0.005
"""Looking costs a system call; between two requests of a busy time there is nothing to see."""
_NEXT_ADDRESS_SECONDS = 0.25
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_LINE_END = "\r\n"


class UpstreamPool:
    """The connections to one upstream: as many as there are requests at once; idle ones are used again, newest first.

    None is used again after 15 idle seconds: what lies between may have forgotten it by then.

    Attributes:
        url: where the upstream is, without a slash at the end.
    """

    def __init__(self, url: str, connect_seconds: float) -> None:
        """Prepare; nothing is connected yet.

        Args:
            url: scheme, host and port, maybe a path that all targets are below.
            connect_seconds: how long looking the name up, connecting and TLS may take together.
        """
        self.url = url.rstrip("/")
        parsed = URL(self.url)
        self._host, self._port = parsed.raw_host or "", parsed.port
        self._path = parsed.raw_path.rstrip("/")
        self._host_line = f"Host: {parsed.host_port_subcomponent}"
        self._tls = ssl.create_default_context() if parsed.scheme == "https" else None
        self._connect_seconds = connect_seconds
        self._idle: dict[Connection, float] = {}

    async def exchange(
        self,
        method: str,
        target: str,
        headers: Iterable[tuple[str, str]],
        body: bytes | AsyncIterator[bytes] | None,
    ) -> Answer:
        """Send a request and return its answer as soon as that begins; whoever gets it has to close it.

        A request is sent a second time, on a new connection, only if nothing at all came back on one that had been
        idle, it is whole, and sending it twice does no harm: RFC 9110 9.2.2 forbids proxies all other repetitions.
        So an idle connection is looked at just before it is used: what the system knows to have ended is left alone.

        Args:
            method: a token.
            target: in origin form, or `*`.
            headers: sent as they are, behind Host; without Host and, where the body is bytes, without Content-Length.
            body: an iterator's is sent as it comes, in chunks unless there is a Content-Length; it is read on until the
                answer is closed.

        Raises:
            NoAnswerError: no answer began. What reading the body raised comes as it is.
            ValueError: a line break or a NUL in what may hold none.
        """
        fields = list(headers)
        if isinstance(body, bytes):
            fields.append(("Content-Length", str(len(body))))
        elif body is not None and not any(name.lower() == "content-length" for name, _ in fields):
            fields.append(("Transfer-Encoding", "chunked"))
            body = _chunks(body)
        head = self._head(method, target, fields)
        idle = self._newest_idle()
        if idle is not None:
            try:
                return await idle.exchange(method, head, body)
            except DroppedError:
                is_whole = body is None or isinstance(body, bytes)
                if not is_whole or method not in _IDEMPOTENT:
                    raise
        connection = await self._connect()
        return await connection.exchange(method, head, body)

    def close(self) -> None:
        """Close the idle connections; the others belong to whoever reads their answers."""
        while self._idle:
            self._idle.popitem()[0].abort()

    def take_back(self, connection: Connection) -> None:
        """Keep the connection for another request."""
        now = asyncio.get_running_loop().time()
        self._idle[connection] = now
        oldest, since = next(iter(self._idle.items()))
        if len(self._idle) > _MOST_IDLE or now - since > _IDLE_SECONDS:
            del self._idle[oldest]
            oldest.abort()

    def forget(self, connection: Connection) -> None:
        """Never use the connection again."""
        self._idle.pop(connection, None)

    def _newest_idle(self) -> Connection | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection, since = self._idle.popitem()
            idle_seconds = now - since
            is_surely_open = idle_seconds < _SURELY_OPEN_SECONDS or not connection.has_news
            if connection.is_usable and idle_seconds <= _IDLE_SECONDS and is_surely_open:
                return connection
            connection.abort()
        return None

    def _head(self, method: str, target: str, fields: list[tuple[str, str]]) -> bytes:
        path = target if target == "*" else self._path + target
        lines = [f"{method} {path} HTTP/1.1", self._host_line]
        lines += [f"{name}: {value}" for name, value in fields]
        text = _LINE_END.join(lines) + 2 * _LINE_END
        if not text.count("\r") == text.count("\n") == len(lines) + 1 or "\0" in text:
            raise ValueError(f"a request's head must hold no line break and no NUL in its parts, got {text!r}")
        return text.encode("utf-8", "surrogateescape")

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_seconds):
                addresses = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
                connected = await start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS)
                _, connection = await loop.create_connection(
                    lambda: Connection(self),
                    sock=connected,
                    ssl=self._tls,
                    server_hostname=self._host if self._tls else None,
                )
        except (OSError, UnicodeError) as error:  # the latter: no such name can be
            if isinstance(error, TimeoutError) and not error.errno:
                raise NoAnswerError(f"timed out after {self._connect_seconds:g} s") from error
            raise NoAnswerError(reason_of(error)) from error
        return connection


async def _chunks(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for piece in pieces:
        if piece:  # an empty chunk would be the last one
            yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"
