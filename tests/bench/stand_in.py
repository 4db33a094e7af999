"""A stand-in for Ollama that costs next to nothing: what a proxy adds can be seen beside it. Runs until SIGTERM.

Speaks just enough of Ollama: `/api/ps`, `/api/tags` and `/api/show` tell of three small models, resident unless they
are unloaded. A chat is answered by the model that its body names: `quick` with one JSON object at once, `paced` with
20 lines of NDJSON, 10 ms apart, `big` with 512 MiB of them. A raw asyncio.Protocol on uvloop, without an HTTP library.
Never reads more of a chat than its length and those names, and knows no chunked request.
"""

import asyncio
import json
import re
import signal
from typing import TYPE_CHECKING, cast

import uvloop

if TYPE_CHECKING:
    from collections.abc import Iterator

_MODELS = ("quick", "paced", "big")
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_PACE_SECONDS = 0.01
_PACED_LINES = 20
_BIG_BYTES = 512 * 2**20
_BIG_CHUNK = 64 * 2**10
_END = {
    "model": "quick",
    "created_at": "2026-11-01T12:00:00.000000Z",
    "message": {"role": "assistant", "content": "Water boils at 100 degrees Celsius at sea level."},
    "done": True,
    "done_reason": "stop",
    "total_duration": 412345678,
    "load_duration": 12345678,
    "prompt_eval_count": 26,
    "prompt_eval_duration": 100000000,
    "eval_count": 12,
    "eval_duration": 300000000,
}
_TOKEN = {**{key: _END[key] for key in ("model", "created_at")}, "message": {"role": "assistant", "content": " wa"}}


def _whole(value: object) -> bytes:
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


def _resident(name: str) -> dict[str, object]:
    size = 2**30
    return {
        "name": f"{name}:latest",
        "model": f"{name}:latest",
        "size": size,
        "size_vram": size,
        "context_length": 4096,
        "expires_at": "2318-01-01T00:00:00Z",
    }


_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
_TOKEN_CHUNK = _chunk(json.dumps({**_TOKEN, "done": False}).encode() + b"\n")
_END_CHUNK = _chunk(json.dumps(_END).encode() + b"\n")
_LAST_CHUNK = b"0\r\n\r\n"
_QUICK = _whole(_END)
_TAGS = _whole({"models": [{"name": f"{name}:latest", "size": 2**30} for name in _MODELS]})
_residents = set(_MODELS)


def _managed(path: bytes, body: bytes) -> bytes:
    """Answer what keepwarm itself asks: what is there, and that it be loaded or unloaded."""
    if path == b"/api/ps":
        return _whole({"models": [_resident(name) for name in _residents]})
    if path == b"/api/tags":
        return _TAGS
    asked = json.loads(body)
    name = asked["model"].partition(":")[0]
    if path == b"/api/show":  # each has weights of its own, else they would be one model
        return _whole({"modelfile": f"FROM /blobs/{name}\n", "capabilities": ["completion"], "model_info": {}})
    if asked.get("keep_alive") == 0:
        _residents.discard(name)
    else:
        _residents.add(name)
    return _QUICK


class StandIn(asyncio.Protocol):
    """One connection; requests on it are answered one after another."""

    def __init__(self) -> None:
        self._received = b""
        self._lines: Iterator[bytes] = iter(())
        self._due = 0.0
        self._streaming = self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, rest = self._received.partition(b"\r\n\r\n")
        if not blank:
            return
        length = _CONTENT_LENGTH.search(head)
        missing = (int(length[1]) if length else 0) - len(rest)
        if missing <= 0:
            self._received = b""
            self._answer(head.split(b" ", 2)[1], rest)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._streaming:
            self._pour()

    def _answer(self, path: bytes, body: bytes) -> None:
        if path != b"/api/chat":
            self._transport.write(_managed(path, body))
        elif b'"paced"' in body:
            self._lines = iter([_TOKEN_CHUNK] * (_PACED_LINES - 2) + [_END_CHUNK + _LAST_CHUNK])
            self._due = asyncio.get_running_loop().time()
            self._transport.write(_STREAM_HEAD + _TOKEN_CHUNK)
            self._wait()
        elif b'"big"' in body:
            large = _chunk(b"\n" * _BIG_CHUNK)
            self._lines = iter([large] * (_BIG_BYTES // _BIG_CHUNK) + [_END_CHUNK + _LAST_CHUNK])
            self._transport.write(_STREAM_HEAD)
            self._pour()
        else:
            self._transport.write(_QUICK)

    def _wait(self) -> None:
        self._due += _PACE_SECONDS
        asyncio.get_running_loop().call_at(self._due, self._tell)

    def _tell(self) -> None:
        line = next(self._lines, None)
        if line is not None and not self._transport.is_closing():
            self._transport.write(line)
            self._wait()

    def _pour(self) -> None:
        self._streaming = True
        while not self._paused:
            line = next(self._lines, None)
            if line is None or self._transport.is_closing():
                self._streaming = False
                return
            self._transport.write(line)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(StandIn, "127.0.0.1", 0, backlog=1024)
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)  # noqa: T201 - whoever started it reads it
    await stopped.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(_serve())
