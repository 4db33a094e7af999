"""The wire between the proxy and a simulated Ollama: holds exchanges where a phase wants them, misbehaves on demand.

It knows which call is the proxy's own (load, unload, ps, facts) and which a client's. It never makes an answer up, only
a misbehaviour does.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tests.integration.raw_http import Head, Wire, chunk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from proxy.sim.server import SimulatedOllama

LAST_CHUNK = b"0\r\n\r\n"


class Kind(StrEnum):
    """What a call is for."""

    CLIENT = "client"
    LOAD = "load"
    UNLOAD = "unload"
    PS = "ps"
    FACTS = "facts"


class Over(Exception):  # noqa: N818 - it is no error
    """The exchange is over, and its connection is too."""


@dataclass(eq=False)
class Exchange:
    """One call that came in; `wire` leads to the proxy."""

    head: Head
    body: bytes
    wire: Wire
    kind: Kind = field(init=False)
    model: str = field(init=False)

    def __post_init__(self) -> None:
        """Find out what it is for."""
        content: dict[str, Any] = json.loads(self.body) if self.body else {}
        self.model = content.get("model", "")
        self.kind = self._kind(content)

    def _kind(self, content: dict[str, Any]) -> Kind:
        if self.head.all("x-client"):
            return Kind.CLIENT
        if self.head.target == "/api/ps":
            return Kind.PS
        if self.head.target in ("/api/generate", "/api/embed"):
            return Kind.UNLOAD if content.get("keep_alive") == 0 else Kind.LOAD
        return Kind.FACTS

    def request(self) -> bytes:
        """What goes on to Ollama; the connection there serves this call alone."""
        lines = [f"{self.head.method} {self.head.target} HTTP/1.1", "Host: localhost", "Connection: close"]
        lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


class Misbehaviour:
    """What goes wrong on the link; this one lets everything pass."""

    async def instead(self, exchange: Exchange) -> bytes:
        """Answer in place of Ollama, which never hears of the call; nothing: ask it. Or raise Over."""
        return b""

    async def head(self, exchange: Exchange, content: bytes) -> bytes:
        """Change an answer's head, and all behind it if it is not streamed. Or raise Over."""
        return content

    async def body(self, exchange: Exchange, content: bytes) -> bytes:
        """Change a piece of a streamed answer's body. Or raise Over."""
        return content


class Link:
    """A listening port; behind it is the simulated Ollama."""

    def __init__(self, ollama: SimulatedOllama) -> None:
        self.misbehaviour = Misbehaviour()
        self.port = 0
        self.calls: Counter[Kind] = Counter()
        self._ollama = ollama
        self._server: asyncio.Server | None = None
        self._serving: dict[asyncio.Task[None], Wire] = {}
        self._held: dict[tuple[Kind, bool], asyncio.Event] = {}
        self._reached: Counter[tuple[Kind, bool]] = Counter()
        self._changed = asyncio.Condition()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def listen(self) -> None:
        """Listen, on the same port as before."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Protocol(self._begin), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def vanish(self) -> None:
        """Listen no more, and end every connection, as a process that is killed does."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await self.drop()

    async def drop(self) -> None:
        """End every connection: in mid-answer it is a reset."""
        tasks = list(self._serving)
        for task, wire in self._serving.items():
            wire.reset()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def hold(self, kind: Kind, *, in_body: bool = False) -> None:
        """From now on, hold calls of this kind before Ollama hears of them, or answers behind their first piece."""
        self._held[kind, in_body] = asyncio.Event()

    def let_go(self) -> None:
        """Let everything that is held go on."""
        for held in self._held.values():
            held.set()
        self._held.clear()

    async def reached(self, kind: Kind, count: int, *, in_body: bool = False) -> None:
        """Wait until so many calls are held there.

        Raises:
            TimeoutError: they don't come.
        """
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(lambda: self._reached[kind, in_body] >= count)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> asyncio.Task[None]:
        wire = Wire(reader, writer)
        task = asyncio.get_running_loop().create_task(self._serve(wire))
        self._serving[task] = wire
        task.add_done_callback(self._serving.pop)
        return task

    async def _serve(self, wire: Wire) -> None:
        try:
            while True:
                head = Head.parse(await wire.reader.readuntil(b"\r\n\r\n"))
                exchange = Exchange(head, await wire.body(head), wire)
                self.calls[exchange.kind] += 1
                await self._hold_if_wanted(exchange, in_body=False)
                if content := await self.misbehaviour.instead(exchange):
                    await wire.send(content)
                else:
                    await self._relay(exchange)
        except (asyncio.IncompleteReadError, ConnectionError, RuntimeError, Over):  # uvloop: the handler is closed
            pass
        finally:
            wire.close()

    async def _relay(self, exchange: Exchange) -> None:
        ollama = await Wire.connect(self._ollama.url)
        try:
            await ollama.send(exchange.request())
            head = await ollama.reader.readuntil(b"\r\n\r\n")
            if not (has_more := b"chunked" in head):
                head += await ollama.reader.read()
            head = head.replace(b"Connection: close\r\n", b"")
            await exchange.wire.send(await self.misbehaviour.head(exchange, head))
            while has_more:  # chunk by chunk: what is held behind the first does not depend on what a read brings
                content = await ollama.chunk()
                has_more = bool(content)
                await exchange.wire.send(await self.misbehaviour.body(exchange, chunk(content)))
                await self._hold_if_wanted(exchange, in_body=True)
        finally:
            ollama.reset()

    async def _hold_if_wanted(self, exchange: Exchange, *, in_body: bool) -> None:
        held = self._held.get((exchange.kind, in_body))
        if held is None:
            return
        async with self._changed:
            self._reached[exchange.kind, in_body] += 1
            self._changed.notify_all()
        await held.wait()


class _Protocol(asyncio.StreamReaderProtocol):
    """Ends the serving of a connection as soon as the proxy leaves it."""

    def __init__(self, begin: Any) -> None:
        self._begin = begin
        self._task: asyncio.Task[None] | None = None
        super().__init__(asyncio.StreamReader(limit=2**20), self._connected)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._task = self._begin(reader, writer)

    def eof_received(self) -> bool:
        super().eof_received()
        return False  # close at once

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._task is not None:
            self._task.cancel()


@asynccontextmanager
async def linked(ollama: SimulatedOllama) -> AsyncIterator[Link]:
    """A link to a simulated Ollama that runs."""
    link = Link(ollama)
    await link.listen()
    try:
        yield link
    finally:
        with suppress(asyncio.CancelledError):
            await link.vanish()
