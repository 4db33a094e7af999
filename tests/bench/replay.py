"""Sends the requests of some users and notes how long each one waited. Never repeats a request."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.bench.workload import Request

_ANSWER_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that is over.

    Attributes:
        at: when it was sent, in seconds since the start.
        waited: seconds from sending it to the end of the answer, without what Ollama says that it took to read the
            prompt and to generate: the load, the queue, and everything between the client and the model.
        error: what went wrong; empty if nothing did.
    """

    model: str
    at: float
    waited: float
    error: str


async def replay(url: str, users: Sequence[Sequence[Request]], sent: Callable[[Sent], None]) -> None:
    """Let all users work at the same time; each sends the next request so long after it has the answer before."""
    began = time.monotonic()
    timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
    async with aiohttp.ClientSession(base_url=url, timeout=timeout) as session, asyncio.TaskGroup() as group:
        for requests in users:
            group.create_task(_one_user(session, requests, began, sent))


async def _one_user(
    session: aiohttp.ClientSession, requests: Sequence[Request], began: float, sent: Callable[[Sent], None]
) -> None:
    for request in requests:
        await asyncio.sleep(request.pause_seconds)
        at, generation, error = time.monotonic(), 0.0, ""
        try:
            generation = await _ask(session, request)
        except (aiohttp.ClientError, TimeoutError, ValueError) as failure:
            error = f"{type(failure).__name__}: {failure}"
        sent(Sent(request.model, at - began, time.monotonic() - at - generation, error))


async def _ask(session: aiohttp.ClientSession, request: Request) -> float:
    """Chat, streamed; return the seconds that Ollama says it computed."""
    body = {
        "model": request.model,
        "messages": [{"role": "user", "content": "Tell me more about it."}],
        "options": {"num_predict": request.tokens},
    }
    line = b""
    async with session.post("/api/chat", json=body) as answer:
        async for line in answer.content:  # noqa: B007 - the last one counts
            pass
        if answer.status != 200:
            raise ValueError(f"status {answer.status}: {line[:300]!r}")
    last: dict[str, Any] = json.loads(line)
    if not last.get("done"):
        raise ValueError(f"the answer ends with {line[:300]!r}")
    return float(last.get("prompt_eval_duration", 0) + last["eval_duration"]) / 1e9
