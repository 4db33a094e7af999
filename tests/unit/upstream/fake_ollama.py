"""A small upstream on a real socket for the management adapter: answers as a test tells it, notes what it was asked."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from proxy.upstream.api import OllamaApi, open_session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Answer = bytes | dict[str, Any] | web.Response | Callable[[web.Request], Awaitable[web.StreamResponse]]

GIB = 2**30
LINE: dict[str, Any] = {
    "name": "Llama3.2:1b",
    "model": "llama3.2:1b",
    "size": 3 * GIB,
    "size_vram": 2 * GIB,
    "digest": "abc",
    "details": {"parent_model": ""},
    "expires_at": "2026-08-01T12:00:00.123456789+02:00",
    "context_length": 8192,
}
LLM = {
    "general.architecture": "llama",
    "llama.block_count": 32,
    "llama.attention.head_count": 32,
    "llama.attention.head_count_kv": 8,
    "llama.embedding_length": 4096,
    "llama.context_length": 131072,
}
TAGS = {"models": [{"name": "other:latest", "size": 1}, {"name": "Llama3.1:8B", "size": 5 * GIB}]}


def shown(info: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"modelfile": "# made\nFROM /blobs/sha256-1\nTEMPLATE x", "model_info": info, **more}


@dataclass
class FakeOllama:
    """Answers each path with what `answers` has for it: of a deque the next one, else always the same; else 404."""

    answers: dict[str, Answer | deque[Answer]]
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.asked.append((request.method, request.path, await request.json() if body else None))
        self.headers.append(dict(request.headers))
        self.was_asked.set()
        answer = self.answers.get(request.path)
        if isinstance(answer, deque):
            answer = answer.popleft()
        if answer is None:
            return web.json_response({"error": "not found"}, status=404)
        if isinstance(answer, dict):
            return web.json_response(answer)
        if isinstance(answer, bytes):
            return web.Response(body=answer)
        return answer if isinstance(answer, web.Response) else await answer(request)


@asynccontextmanager
async def asking(**answers: Answer | deque[Answer]) -> AsyncIterator[tuple[OllamaApi, FakeOllama]]:
    """An adapter in front of a fake Ollama; `ps=…` is the answer to /api/ps, and so on."""
    fake = FakeOllama({f"/api/{name}": answer for name, answer in answers.items()})
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", fake.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with open_session(0.5) as session:
            yield OllamaApi(session, f"http://127.0.0.1:{runner.addresses[0][1]}"), fake
    finally:
        await runner.cleanup()
