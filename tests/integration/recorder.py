"""An upstream that keeps each byte it receives and reads it with h11, a parser that the proxy has no part in.

It tells the proxy's own calls from clients' requests by their targets: a client of this upstream must not use those.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import h11

from tests.integration.raw_http import Head, Wire
from tests.integration.raw_upstream import RawUpstream, serving

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

_OWN_CALLS = {b"/api/ps", b"/api/show", b"/api/tags", b"/api/generate", b"/api/embed"}
_READ_BYTES = 2**16
_MOST_HEAD_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Request:
    """A client's request that arrived as a whole."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass
class Recorder:
    """The server's side of all connections; answers the n-th whole request of a client with n as text.

    Attributes:
        url: where it listens.
        contents: what came on each connection that carries clients' requests, byte for byte.
        requests: what h11 made of it.
        problems: what h11 refused.
    """

    url: str = ""
    contents: list[bytearray] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _ollama: RawUpstream = field(default_factory=RawUpstream)

    @property
    def content(self) -> bytes:
        """What came, without the line that says where this upstream is."""
        host = f"Host: {self.url.removeprefix('http://')}\r\n".encode()
        return b"".join(self.contents).replace(host, b"")

    def forget(self) -> None:
        """Begin anew; connections stay."""
        for content in self.contents:
            content.clear()
        self.requests.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends."""
        arriving = _Arriving(reader, self.contents)
        try:
            while (request := await arriving.next()) is not None:
                if arriving.is_clients:
                    self.requests.append(request)
                    text = b"" if request.method == b"HEAD" else b"%d" % len(self.requests)
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))
                else:
                    writer.write(await self._own_call(request, Wire(reader, writer)))
        except h11.RemoteProtocolError as error:
            self.problems.append(str(error))
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _own_call(self, request: Request, wire: Wire) -> bytes:
        head = Head(f"{request.method.decode()} {request.target.decode()} HTTP/1.1", ())
        return await self._ollama.manage_as_ollama(head, json.loads(request.body or b"null"), wire)


class _Arriving:
    """The requests that come on one connection, and its bytes, which a client's connection adds to `contents`."""

    def __init__(self, reader: asyncio.StreamReader, contents: list[bytearray]) -> None:
        self.is_clients = False
        self._reader = reader
        self._contents = contents
        self._content: bytearray | None = None
        self._unread = b""

    async def next(self) -> Request | None:
        """Wait for a whole request; None: the connection has ended."""
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=_MOST_HEAD_BYTES)
        if self._unread:
            parser.receive_data(self._unread)
        head, body = None, b""
        while not isinstance(event := parser.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif not await self._feed(parser):
                return None
        assert head is not None
        self._unread = parser.trailing_data[0]
        return Request(head.method, head.target, tuple(head.headers.raw_items()), body)

    async def _feed(self, parser: h11.Connection) -> bool:
        came = await self._reader.read(_READ_BYTES)
        if not came:
            return False
        if self._content is None:
            self._content = bytearray()
            self.is_clients = came.split(b" ")[1] not in _OWN_CALLS
            if self.is_clients:
                self._contents.append(self._content)
        self._content += came
        parser.receive_data(came)
        return True


@asynccontextmanager
async def recorder() -> AsyncIterator[Recorder]:
    """Run one on any free port of this machine."""
    upstream = Recorder()
    async with serving(upstream.serve) as upstream.url:
        yield upstream
