"""One Ollama under test, simulated or real, spoken to over HTTP alone; asserts nothing."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import aiohttp

MIB = 1 << 20
PATIENCE_SECONDS = 30
HEARD_SECONDS = 0.1
"""After a request's end the scheduler may hear of it later than the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that the Ollama under test has; `endless` ones chat until num_predict; `seed` says which weights."""

    name: str
    mib: int
    seed: int
    embedding: bool = False
    endless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How the Ollama under test is set up; the same for both kinds."""

    models: tuple[Model, ...]
    gpu_mib: int = 24576
    load_mib_per_s: int = 65536
    release_ms: int = 0
    max_loaded_models: int | None = None
    num_parallel: int | None = None
    max_queue: int | None = None
    keep_alive_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with a body of JSON, and the seconds of Ollama's own time until it was there."""

    status: int
    body: Any
    seconds: float


class Ollama:
    """The Ollama under test.

    Args:
        url: Where it answers.
        session: For the calls.
        speed: Its seconds per second of ours.
    """

    def __init__(self, url: str, session: aiohttp.ClientSession, speed: float) -> None:
        self.url = url
        self._session = session
        self._speed = speed

    def now(self) -> float:
        """Its time in seconds, from anywhere."""
        return time.monotonic() * self._speed

    async def sleep(self, seconds: float) -> None:
        """Lets so many of its seconds pass."""
        await asyncio.sleep(seconds / self._speed)

    async def call(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Answer:
        """Any call; a body of type str or bytes goes as it is."""
        began = self.now()
        data = body if isinstance(body, str | bytes) or body is None else json.dumps(body)
        async with self._session.request(method, self.url + path, data=data, headers=headers) as answer:
            text = await answer.text()
            kind = answer.headers.get("Content-Type", "")
            return Answer(
                answer.status,
                json.loads(text) if kind.startswith("application/json") and text else text,
                self.now() - began,
            )

    async def post(self, path: str, **body: Any) -> Answer:
        """A POST that is not streamed."""
        return await self.call("POST", path, {"stream": False} | body)

    async def load(self, model: str, **body: Any) -> float:
        """Loads a model, or says that it is wanted; the seconds that took."""
        answer = await self.post("/api/generate", model=model, **body)
        assert answer.status == 200, answer
        return answer.seconds

    async def unload(self, model: str) -> None:
        """Asks for an unload, and does not wait for it."""
        answer = await self.post("/api/generate", model=model, keep_alive=0)
        assert answer.body["done_reason"] == "unload", answer

    async def gone(self, *models: str) -> float:
        """Waits until none of these models is loaded; the seconds that took."""
        began = self.now()
        await self.until(lambda loaded: not set(models) & set(loaded))
        return self.now() - began

    async def until(self, true: Callable[[dict[str, dict[str, Any]]], bool]) -> None:
        """Waits until what /api/ps says is as it should be."""
        deadline = self.now() + PATIENCE_SECONDS
        while not true(await self.ps()):
            assert self.now() < deadline, f"not after {PATIENCE_SECONDS} s: {await self.ps()}"
            await asyncio.sleep(0.005)

    async def ps(self) -> dict[str, dict[str, Any]]:
        """What /api/ps says, by name; `left` is the seconds until a model expires."""
        answer = await self.call("GET", "/api/ps")
        now = datetime.now(UTC)
        return {
            model["name"]: model | {"left": (_time(model["expires_at"]) - now).total_seconds()}
            for model in answer.body["models"]
        }

    async def left(self, model: str) -> float:
        """The seconds until a loaded model expires, by the last request that is over."""
        await asyncio.sleep(HEARD_SECONDS)
        return float((await self.ps())[model]["left"])

    @asynccontextmanager
    async def busy(self, model: str, **body: Any) -> AsyncIterator[None]:
        """An endless model generates, from its first token on, until the block is left: then the client goes away."""
        wanted = {"model": model, "prompt": "go on", "options": {"num_predict": 60000}} | body
        async with self._session.post(f"{self.url}/api/generate", json=wanted) as answer:
            assert answer.status == 200, await answer.text()
            assert not json.loads(await answer.content.readline())["done"]
            yield

    @asynccontextmanager
    async def meanwhile(self, doing: Awaitable[Answer]) -> AsyncIterator[asyncio.Task[Answer]]:
        """A call under way; given up if the block is left by an error."""
        task = asyncio.ensure_future(doing)
        try:
            yield task
        finally:
            task.cancel()


def _time(text: str) -> datetime:
    head, _, rest = text.partition(".")  # Go writes nanoseconds
    digits = rest.rstrip("Z").partition("+")[0].partition("-")[0]
    return datetime.fromisoformat(f"{head}.{digits[:6].ljust(6, '0')}{rest[len(digits) :]}")
