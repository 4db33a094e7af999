"""The upstream's answer as the client gets it: its own head, its own pieces. Adds only what the connection needs."""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING

from aiohttp import HttpVersion11, web
from multidict import CIMultiDict

from proxy import __version__
from proxy.server.headers import end_to_end

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.abc import AbstractStreamWriter

    from proxy.upstream.wire_answer import Answer

SERVER = f"keepwarm/{__version__}"
"""What the proxy calls itself where the upstream does not say what it is."""

_NEVER_WITH_BODY = frozenset({204, 304})


class RelayedAnswer(web.StreamResponse):
    """Goes out through aiohttp's writer, without the headers that aiohttp makes up for a response of its own."""

    def __init__(self, request: web.BaseRequest, answer: Answer, added: Mapping[str, str]) -> None:
        """Take over status and headers, `added` in place of the upstream's; nothing is sent yet."""
        super().__init__(status=answer.status, reason=answer.reason)
        self._writer: AbstractStreamWriter = request.writer
        self._connection = request.protocol
        self._stays = request.keep_alive
        self._head = CIMultiDict(end_to_end(answer.headers))
        if added:
            self._head.update(added)
        self._is_ready = self._is_over = self._is_chunked = False

    @property
    def keep_alive(self) -> bool | None:
        """Whether the client's connection can carry another request; aiohttp's server asks."""
        return self._stays

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Make the head ready, once: it goes out with the first piece, or with `send_head`."""
        if not self._is_ready:
            self._is_ready = True
            self._frame(request)
            version = request.version
            await self._writer.write_headers(f"HTTP/{version[0]}.{version[1]} {self.status} {self.reason}", self._head)
        return self._writer

    def send_head(self) -> None:
        """Send the head alone: the first piece is not there yet."""
        self._writer.send_headers()

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send a piece, and wait if the client is slow; ConnectionResetError: it left."""
        await self._writer.write(data)

    def write_now(self, data: bytes) -> bool:
        """Send a piece behind the head without waiting; False: the client is slow or gone, so `write` has to wait."""
        transport = self._connection.transport
        if transport is None or transport.is_closing() or self._connection.writing_paused:
            return False
        transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data)
        return True

    async def write_eof(self, data: bytes = b"") -> None:
        """Send the last piece and the end, once; ConnectionResetError: the client left."""
        if not self._is_over:
            self._is_over = True
            await self._writer.write_eof(data)

    def _frame(self, request: web.BaseRequest) -> None:
        """Say how the body ends, and whether the connection stays (RFC 9112 6.3, 9.3)."""
        head, is_new = self._head, request.version >= HttpVersion11
        head.setdefault("Server", SERVER)
        if "Date" not in head:
            head["Date"] = _date(int(time.time()))
        has_body = self.status not in _NEVER_WITH_BODY and request.method != "HEAD"
        if has_body and "Content-Length" not in head:
            if is_new:
                self._is_chunked = True
                self._writer.enable_chunking()
                head["Transfer-Encoding"] = "chunked"
            else:
                self._stays = False
        if self._stays is not is_new:
            head["Connection"] = "keep-alive" if self._stays else "close"


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """Write it once a second: it costs a twentieth of a request."""
    return formatdate(second, usegmt=True)
