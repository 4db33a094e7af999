"""Clients of the proxy that know how their request ended: whole, cut, with which error, or not at all."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from tests.integration.raw_http import Head, Wire, request
from tests.integration.test_unreachable import message

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER_TOKENS = 8
PATHS = ("/api/chat", "/v1/chat/completions", "/v1/messages")
_WORDS = [
    " The",
    " proxy",
    " keeps",
    " the",
    " right",
    " models",
    " in",
    " memory",
    ",",
    " and",
    " nobody",
    " waits",
    ".",
]
_SLOW_SECONDS = 0.001
"""Between two bytes of a slow reader, in place of a second; what is to be seen is that nobody else waits for it."""


class Client:
    """One request to one API, streamed.

    Attributes:
        path: of the API.
        slow: it reads byte by byte.
    """

    def __init__(self, url: str, path: str, model: str) -> None:
        self.path = path
        self.slow = False
        self._url, self._model = url, model
        self._wire: Wire | None = None
        self._reading: asyncio.Task[str] | None = None
        self._left = False
        self._begun = asyncio.Event()

    def __repr__(self) -> str:
        """What became of it."""
        ended = self._reading is not None and self._reading.done() and not self._reading.cancelled()
        return f"{self.path}: {self._reading.result() if ended and self._reading else 'under way'}"

    def request(self) -> bytes:
        """What it sends."""
        messages = [{"role": "user", "content": "hi"}]
        body = {"model": self._model, "messages": messages, "stream": True, "max_tokens": 1000}
        return request(self.path, json.dumps(body).encode())

    async def connect(self) -> None:
        """Connect; sends nothing yet."""
        assert self._wire is None
        self._wire = await Wire.connect(self._url, buffer_bytes=2**12)

    async def send(self, content: bytes | None = None) -> None:
        """Send the request (or this part of it) and begin to read."""
        if self._wire is None:
            await self.connect()
        assert self._wire is not None
        await self._wire.send(self.request() if content is None else content)
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(self._wire))

    async def begun(self) -> None:
        """Wait for the first piece of the answer."""
        async with asyncio.timeout(5):
            await self._begun.wait()

    def leave(self, how: Callable[[Wire], None]) -> None:
        """Close or reset the connection."""
        assert self._wire is not None
        self._left = True
        how(self._wire)

    @property
    def is_sent(self) -> bool:
        """Whether anything of its request is on the way."""
        return self._reading is not None

    async def outcome(self, seconds: float) -> str:
        """How it ended: `whole`, `cut`, an error's status, `dropped` (no answer at all), `left`, or `hangs`."""
        assert self._reading is not None
        if self._left:
            self._reading.cancel()
            await asyncio.wait([self._reading])
            return "left"
        done, _ = await asyncio.wait([self._reading], timeout=seconds)
        return self._reading.result() if done else "hangs"

    async def close(self) -> None:
        """End it, whatever it does."""
        if self._wire is not None:
            self._wire.close()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])

    async def _read(self, wire: Wire) -> str:
        try:
            head = Head.parse(await wire.reader.readuntil(b"\r\n\r\n"))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            return "dropped" if not getattr(error, "partial", b"") else "cut"
        try:
            content = await self._body(wire, head)
        except (asyncio.IncompleteReadError, ConnectionError):
            return "cut"
        if head.status != 200:  # in the words of the API
            assert message(self.path, content), content
            return str(head.status)
        assert text_of(self.path, content) == spoken(ANSWER_TOKENS), content
        return "whole"

    async def _body(self, wire: Wire, head: Head) -> bytes:
        if not head.chunked:
            return await wire.reader.readexactly(head.length or 0)
        pieces = []
        while size := int(await self._until(wire, b"\r\n"), 16):
            pieces.append(await wire.reader.readexactly(size))
            self._begun.set()
            assert await wire.reader.readexactly(2) == b"\r\n"
        assert await wire.reader.readexactly(2) == b"\r\n"
        return b"".join(pieces)

    async def _until(self, wire: Wire, end: bytes) -> bytes:
        if not self.slow:
            return await wire.reader.readuntil(end)
        read = b""
        while not read.endswith(end):
            read += await wire.reader.readexactly(1)
            await asyncio.sleep(_SLOW_SECONDS)
        return read


async def get(url: str, body: object = None) -> bytes:
    """GET, or POST a body as JSON; return the answer's body."""
    host, _, path = url.removeprefix("http://").partition("/")
    wire = await Wire.connect(f"http://{host}")
    try:
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{'POST' if content else 'GET'} /{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}"
        await wire.send(head.encode() + b"\r\n\r\n" + content)
        return (await wire.answer())[1]
    finally:
        wire.close()


def spoken(tokens: int) -> str:
    """What the simulated Ollama says in so many tokens."""
    return "".join(_WORDS[index % len(_WORDS)] for index in range(tokens))


def text_of(path: str, content: bytes) -> str:
    """The text of a streamed answer, which must have its API's last line."""
    if path == "/api/chat":
        lines = [json.loads(line) for line in content.splitlines()]
        assert lines[-1]["done"] is True, "a truncated answer that looks whole"
        return "".join(line["message"]["content"] for line in lines)
    data = [line.removeprefix("data: ") for line in content.decode().splitlines() if line.startswith("data: ")]
    if path == "/v1/messages":
        events = [json.loads(line) for line in data]
        assert events[-1]["type"] == "message_stop", "a truncated answer that looks whole"
        return "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta")
    assert data[-1] == "[DONE]", "a truncated answer that looks whole"
    chunks = [json.loads(line) for line in data[:-1]]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
