"""HTTP/1.1 spoken by hand on a socket, so that tests see each byte and each piece as it travels."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

PATIENCE_SECONDS = 5.0
_READ_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class Head:
    """A message's start line and its headers in order, as they came."""

    start: str
    headers: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, content: bytes) -> Head:
        """Read what ends in an empty line."""
        start, *lines = content.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        pairs = (line.split(":", 1) for line in lines)
        return cls(start, tuple((name, value.strip()) for name, value in pairs))

    @property
    def status(self) -> int:
        """The status of an answer."""
        return int(self.start.split(" ")[1])

    @property
    def method(self) -> str:
        """The method of a request."""
        return self.start.split(" ")[0]

    @property
    def target(self) -> str:
        """What a request asks for, as written."""
        return self.start.split(" ", 1)[1].rsplit(" ", 1)[0]

    def all(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def names(self) -> set[str]:
        """Return the names of all headers in lower case."""
        return {key.lower() for key, _ in self.headers}

    @property
    def length(self) -> int | None:
        """Content-Length; None: there is none."""
        return int(self.all("content-length")[0]) if self.all("content-length") else None

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return self.all("transfer-encoding") == ["chunked"]


class Wire:
    """One end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, url: str, *, buffer_bytes: int = 2**16) -> Wire:
        """Connect to the host and port of a URL."""
        host, _, port = url.removeprefix("http://").partition(":")
        return cls(*await asyncio.open_connection(host, int(port), limit=buffer_bytes))

    async def send(self, content: bytes) -> None:
        """Write, and wait until the other side took most of it."""
        self.writer.write(content)
        await self.writer.drain()

    async def head(self) -> Head:
        """Read a start line and headers."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return Head.parse(await self.reader.readuntil(b"\r\n\r\n"))

    async def line(self) -> bytes:
        """Read one line with its end."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.reader.readuntil(b"\r\n")

    async def exactly(self, count: int) -> bytes:
        """Read so many bytes."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.reader.readexactly(count)

    async def chunk(self) -> bytes:
        """Read one chunk of a chunked body; empty: its end."""
        size = int(await self.line(), 16)
        content = await self.exactly(size)
        assert await self.line() == b"\r\n"
        return content

    async def chunks(self) -> AsyncIterator[bytes]:
        """Read chunk by chunk until the body's end."""
        while content := await self.chunk():
            yield content

    async def body(self, head: Head) -> bytes:
        """Read the whole body that the head announces."""
        if head.chunked:
            return b"".join([content async for content in self.chunks()])
        return await self.exactly(head.length or 0)

    async def rest(self) -> bytes:
        """Read until the other side ends the connection properly.

        Raises:
            ConnectionResetError: it was reset.
        """
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.reader.read()

    async def answer(self) -> tuple[Head, bytes]:
        """Read one whole answer."""
        head = await self.head()
        return head, await self.body(head)

    async def closed(self) -> None:
        """Wait until the other side is gone, in whatever way."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                while await self.reader.read(_READ_BYTES):
                    pass
            except ConnectionError:
                pass

    def close(self) -> None:
        """Close in the ordinary way."""
        self.writer.close()

    def reset(self) -> None:
        """Close so that the other side sees a reset."""
        self.writer.transport.abort()


async def until(check: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Wait until it is so.

    Raises:
        TimeoutError: it is still not so.
    """
    async with asyncio.timeout(seconds):
        while not await check():  # noqa: ASYNC110 - what is waited for happens in another program
            await asyncio.sleep(0.005)


def request(target: str, body: bytes = b"", *headers: str, method: str = "POST") -> bytes:
    """Write a client's request; the fake upstream knows a client's request by X-Client."""
    length = [f"Content-Length: {len(body)}"] if body or method == "POST" else []
    lines = [f"{method} {target} HTTP/1.1", "Host: keepwarm:11435", "X-Client: test", *headers, *length]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def answer(body: bytes = b"", *headers: str, status: str = "200 OK") -> bytes:
    """Write an answer with Content-Length."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunk(content: bytes) -> bytes:
    """Write one chunk of a chunked body; of nothing: its end."""
    return b"%x\r\n%b\r\n" % (len(content), content)


CHUNKED_ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/x-ndjson\r\n\r\n"
