"""An upstream on a bare socket: hands clients' requests to the test as they came, answers the proxy's own by itself.

It is no Ollama: it knows which models are resident because a test says so, and a load only makes one resident.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.integration.raw_http import Head, Wire, answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Manage = Callable[[Head, Any, Wire], Awaitable[bytes]]


_MIB = 2**20


@dataclass
class Exchange:
    """A client's request that reached the upstream; the test reads its body and answers on `wire`."""

    head: Head
    wire: Wire
    connection: int
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def body(self) -> bytes:
        """Read the whole body."""
        return await self.wire.body(self.head)

    async def reply(self, content: bytes) -> None:
        """Send this and look for the next request on this connection."""
        await self.wire.send(content)
        self.done.set()


@dataclass
class RawUpstream:
    """The server's side of all connections.

    Attributes:
        url: where it listens.
        residents: models that `/api/ps` shows.
        managed: the proxy's own calls, as (path, body), in order, without `/api/ps`.
        connections: how many were opened so far.
        manage: answers the proxy's own calls; replace it to misbehave.
    """

    url: str = ""
    residents: set[str] = field(default_factory=lambda: {"warm:latest"})
    known: set[str] = field(default_factory=lambda: {"warm:latest", "cold:latest"})
    managed: list[tuple[str, Any]] = field(default_factory=list)
    connections: int = 0
    manage: Manage = field(init=False)
    load_may_end: asyncio.Event = field(default_factory=asyncio.Event)
    _arrived: asyncio.Queue[Exchange] = field(default_factory=asyncio.Queue)

    def __post_init__(self) -> None:
        """Loads end at once, unless a test clears `load_may_end`."""
        self.manage = self.manage_as_ollama
        self.load_may_end.set()

    async def next(self) -> Exchange:
        """Wait for the next request of a client."""
        async with asyncio.timeout(5):
            return await self._arrived.get()

    def nothing_arrived(self) -> bool:
        """Tell whether no client's request waits to be looked at."""
        return self._arrived.empty()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends."""
        self.connections += 1
        connection, wire = self.connections, Wire(reader, writer)
        try:
            while True:
                head = Head.parse(await reader.readuntil(b"\r\n\r\n"))
                if head.all("x-client"):
                    exchange = Exchange(head, wire, connection)
                    self._arrived.put_nowait(exchange)
                    await exchange.done.wait()
                else:
                    content = await wire.body(head)
                    body = json.loads(content) if content else None
                    if head.target != "/api/ps":
                        self.managed.append((head.target, body))
                    await wire.send(await self.manage(head, body, wire))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            wire.close()

    async def manage_as_ollama(self, head: Head, body: Any, _: Wire) -> bytes:
        """Answer the proxy's own calls."""
        match head.target:
            case "/api/ps":
                return _json({"models": [_resident(name) for name in sorted(self.residents)]})
            case "/api/tags":
                return _json({"models": [{"name": name, "size": 100 * _MIB} for name in sorted(self.known)]})
            case "/api/show" if body["model"] in self.known:
                return _json({"modelfile": f"FROM /blobs/{body['model']}", "model_info": {}, "capabilities": []})
            case "/api/generate":
                return await self._load_or_unload(body)
        return answer(b'{"error":"not found"}', status="404 Not Found")

    async def _load_or_unload(self, body: Any) -> bytes:
        if body["keep_alive"] == 0:
            self.residents.discard(body["model"])
        else:
            await self.load_may_end.wait()
            self.residents.add(body["model"])
        return _json({"done": True})


def _json(value: Any) -> bytes:
    return answer(json.dumps(value).encode(), "Content-Type: application/json")


def _resident(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "size": 110 * _MIB,
        "size_vram": 110 * _MIB,
        "context_length": 4096,
        "expires_at": "2099-01-01T00:00:00Z",
    }


@asynccontextmanager
async def serving(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any], port: int = 0
) -> AsyncIterator[str]:
    """Serve connections on a port of this machine, 0: any free one, and give the URL."""
    tasks: set[asyncio.Task[None]] = set()

    def start(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(start, "127.0.0.1", port)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def raw_upstream(port: int = 0) -> AsyncIterator[RawUpstream]:
    """Run one on a port of this machine; 0: any free one."""
    upstream = RawUpstream()
    async with serving(upstream.serve, port) as upstream.url:
        yield upstream
