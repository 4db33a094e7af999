"""What the tests of the proxy in front of the real Ollama share: requests, and what Ollama's own log says of them.

Never asks the proxy what happened: who was loaded and who left is read from Ollama.
"""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from tests.e2e.real_ollama import RealOllama, RealOllamaOptions

FAST = RealOllamaOptions(load_mib_per_s=65536)  # a load takes 0.3 s, whatever its size
GENERATES: dict[str, dict[str, Any]] = {
    "/api/generate": {"prompt": "Hello", "stream": False},
    "/api/chat": {"messages": [{"role": "user", "content": "Hello"}], "stream": False},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hello"}]},
    "/v1/completions": {"prompt": "Hello"},
    "/v1/responses": {"input": "Hello"},
    "/v1/messages": {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 64},
}
EMBEDS: dict[str, dict[str, Any]] = {
    "/api/embed": {"input": "Hello"},
    "/api/embeddings": {"prompt": "Hello"},
    "/v1/embeddings": {"input": "Hello"},
}
LINE = re.compile(r'msg="(?P<what>[^"]*)" runner\.name=registry\.ollama\.ai/library/(?P<model>\S+)')
WHAT = {
    "finished setting up": "loaded",
    "starting background wait for VRAM recovery": "left",
    "resetting model to expire immediately to make room": "evicted by Ollama",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, and how many seconds it took."""

    status: int
    content: bytes
    seconds: float

    def json(self) -> Any:
        return msgspec.json.decode(self.content)


async def post(url: str, path: str, body: dict[str, Any] | bytes) -> Answer:
    """POST; the whole answer, whatever its status."""
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    began = time.monotonic()
    async with (
        aiohttp.ClientSession() as session,
        session.post(url + path, data=content, headers={"Content-Type": "application/json"}) as answer,
    ):
        received = await answer.read()
        return Answer(answer.status, received, time.monotonic() - began)


async def ask(url: str, model: str, path: str = "/api/generate", **more: Any) -> Answer:
    """A short request to a model, which must be answered with 200."""
    answer = await post(url, path, {"model": model, **(GENERATES | EMBEDS)[path], **more})
    assert answer.status == 200, answer
    return answer


def endless(path: str, tokens: int = 100_000, **more: Any) -> dict[str, Any]:
    """A request that endless-a answers with exactly so many tokens, always the same; 100,000 take minutes."""
    native = {"options": {"num_predict": tokens, "temperature": 0}}
    name = "max_output_tokens" if path == "/v1/responses" else "max_tokens"
    length = native if path.startswith("/api/") else {name: tokens, "temperature": 0}
    return {"model": "endless-a", **GENERATES[path], **length, **more}


async def until(condition: Callable[[], Any], seconds: float, what: str) -> None:
    """Waits until the awaited condition is true; fails after `seconds`, saying `what` did not come true."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.02)


async def resident(ollama: RealOllama) -> set[str]:
    """The models in /api/ps, without `:latest`."""
    return {model["name"].removesuffix(":latest") for model in await ollama.ps()}


async def pause_is_over(ollama: RealOllama) -> None:
    """After an unload Ollama looks for its memory for up to 5 s, and sees nothing else meanwhile (OLLAMA.md 17)."""

    async def over() -> bool:
        log = ollama.log.read_bytes()
        return log.count(b"starting background wait for VRAM recovery") == log.count(b"sending an unloaded event")

    await until(over, 20, "pauses over")


class Happenings:
    """What Ollama says in its log that happened to models since this was made."""

    def __init__(self, ollama: RealOllama) -> None:
        self._log = ollama.log
        self._begins = self._log.stat().st_size

    def all(self) -> list[tuple[str, str]]:
        """Pairs of what happened (loaded, left, evicted by Ollama) and to whom, in order."""
        text = self._log.read_bytes()[self._begins :].decode(errors="replace")
        return [
            (WHAT[found["what"]], found["model"].removesuffix(":latest"))
            for found in LINE.finditer(text)
            if found["what"] in WHAT
        ]

    def of(self, what: str) -> list[str]:
        """To whom it happened, in order."""
        return [model for happened, model in self.all() if happened == what]
