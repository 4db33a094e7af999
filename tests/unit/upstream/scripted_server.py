"""An upstream on a real socket that answers by a script, and a client that asks it through the pool."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

    from proxy.upstream.wire import UpstreamPool

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HANG_UP = b""


class Server:
    """Answers each request by the next line of its script.

    Attributes:
        heard: the number of the connection and the request's bytes, for each request.
        script: what to answer, in order, then always WHOLE; HANG_UP closes instead.
    """

    def __init__(self) -> None:
        self.heard: list[tuple[int, bytes]] = []
        self.script: list[bytes] = []
        self.port = 0
        self.writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server

    async def start(self, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._serve, host, 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for writer in self.writers:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        connection = len(self.writers)
        while content := await _request(reader):
            self.heard.append((connection, content))
            answer = self.script.pop(0) if self.script else WHOLE
            if answer == HANG_UP:
                break
            writer.write(answer)
        writer.close()


async def _request(reader: asyncio.StreamReader) -> bytes:
    """Head and body as they came; nothing: the connection is at its end."""
    with suppress(asyncio.IncompleteReadError):
        head = await reader.readuntil(b"\r\n\r\n")
        if b"ncoding: chunked" in head:
            return head + await reader.readuntil(b"0\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        return head + await reader.readexactly(int(length[1]) if length else 0)
    return b""


async def asked(pool: UpstreamPool, method: str = "GET", target: str = "/", *headers: tuple[str, str], body=None):
    answer = await pool.exchange(method, target, headers, body)
    try:
        content = b""
        while piece := await answer.read():
            content += piece
    finally:
        await answer.close()
    return content
