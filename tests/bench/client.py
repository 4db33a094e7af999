"""The measuring client, a process of its own: client.py WHAT URL SECONDS prints one JSON object of figures.

WHAT is `alone` (one connection, one request after another), `streams` (64 paced streams at any moment) or `big` (one
large stream). Speaks HTTP on bare sockets, so that what it measures is not its own work. Never retries: an answer that
is not 200, or a connection that ends, is an error.
"""

import asyncio
import json
import random
import socket
import statistics
import sys
import time
from typing import cast
from urllib.parse import urlsplit

import uvloop

STREAMS = 64
_WARM_UP = 20
_PROMPT = "Answer in one sentence: why does water boil at a lower temperature on a mountain than at the sea? " * 3
_END = b"0\r\n\r\n"


class WrongAnswerError(Exception):
    """The answer is not what the stand-in sends; the text holds its beginning."""


def request(model: str) -> bytes:
    """The whole of a chat request for this model of the stand-in."""
    body = chat_body(model).encode()
    head = "POST /api/chat HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def chat_body(model: str) -> str:
    """Its body."""
    stream = model != "quick"
    return json.dumps({"model": model, "messages": [{"role": "user", "content": _PROMPT}], "stream": stream})


def percentiles(seconds: list[float]) -> dict[str, float]:
    """p50 and p99 in seconds, and how many there are."""
    ranks = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"p50": ranks[49], "p99": ranks[98], "count": len(seconds)}


def alone(host: str, port: int, seconds: float) -> dict[str, float]:
    """Request to whole answer, over one connection that stays open."""
    asked, taken = request("quick"), []
    with socket.create_connection((host, port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            begins_at = time.perf_counter()
            connection.sendall(asked)
            _read_whole(connection)
            taken.append(time.perf_counter() - begins_at)
    return percentiles(taken[_WARM_UP:])


def big(host: str, port: int, _: float) -> dict[str, float]:
    """How fast one large stream flows, in bytes per second."""
    buffer, size, last = bytearray(2**18), 0, b""
    with socket.create_connection((host, port)) as connection:
        begins_at = time.perf_counter()
        connection.sendall(request("big"))
        while not last.endswith(_END):
            received = connection.recv_into(buffer)
            if size == 0:
                _check(bytes(buffer[:received]))
            if received == 0:
                raise WrongAnswerError(f"ended after {size} bytes")
            size += received
            last = (last + buffer[max(0, received - len(_END)) : received])[-len(_END) :]
        return {"bytes_per_second": size / (time.perf_counter() - begins_at)}


async def streams(host: str, port: int, seconds: float) -> dict[str, float]:
    """Request to first byte of the body, with 64 streams flowing that did not begin together."""
    loop = asyncio.get_running_loop()
    first_chunks: list[float] = []
    ends_at = loop.time() + seconds
    readers = [loop.create_connection(lambda: _Stream(first_chunks, ends_at), host, port) for _ in range(STREAMS)]
    protocols = [protocol for _, protocol in await asyncio.gather(*readers)]
    for protocol in protocols:
        loop.call_later(random.uniform(0, 0.2), protocol.ask)
    await asyncio.gather(*(protocol.over for protocol in protocols))
    return percentiles(first_chunks)


class _Stream(asyncio.Protocol):
    """One connection on which a stream follows another until `ends_at`."""

    def __init__(self, first_chunks: list[float], ends_at: float) -> None:
        self._first_chunks = first_chunks
        self._ends_at = ends_at
        self._asked = request("paced")
        self._head = b""
        self._waits = False
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def ask(self) -> None:
        self._head, self._waits = b"", True
        self._asked_at = time.perf_counter()
        self._transport.write(self._asked)

    def data_received(self, data: bytes) -> None:
        if self._waits:
            self._head += data
            head, blank, body = self._head.partition(b"\r\n\r\n")
            if not blank or not body:
                return
            self._first_chunks.append(time.perf_counter() - self._asked_at)
            self._waits = False
            _check(head)
        if data.endswith(_END):
            if time.monotonic() < self._ends_at:
                self.ask()
            else:
                self._transport.close()
                self.over.set_result(None)

    def connection_lost(self, _: Exception | None) -> None:
        if not self.over.done():
            self.over.set_exception(WrongAnswerError("the connection ended within a stream"))


def _read_whole(connection: socket.socket) -> None:
    received = connection.recv(65536)
    head, blank, body = received.partition(b"\r\n\r\n")
    while not blank:
        more = connection.recv(65536)
        if not more:
            raise WrongAnswerError("the connection ended within an answer")
        received += more
        head, blank, body = received.partition(b"\r\n\r\n")
    _check(head)
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    while len(body) < length:
        body += connection.recv(65536)


def _check(head: bytes) -> None:
    if not head.startswith(b"HTTP/1.1 200"):
        raise WrongAnswerError(head[:500].decode(errors="replace"))


def main() -> None:
    what, url, seconds = sys.argv[1], urlsplit(sys.argv[2]), float(sys.argv[3])
    assert url.hostname is not None
    assert url.port is not None
    if what == "streams":
        figures = uvloop.run(streams(url.hostname, url.port, seconds))
    else:
        figures = {"alone": alone, "big": big}[what](url.hostname, url.port, seconds)
    print(json.dumps(figures))  # noqa: T201 - whoever started it reads it


if __name__ == "__main__":
    main()
