"""The clients of a demo: they live through made-up days and really ask, over HTTP. Decides nothing."""

from __future__ import annotations

import asyncio
import itertools
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from proxy.sim.day import DAY_SECONDS, day

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from proxy.sim.day import Ask

_log: Final = logging.getLogger(__name__)
_AT_ONCE: Final = 32
_LATE_SECONDS: Final = 300.0


@asynccontextmanager
async def visitors(
    url: str, clock: Callable[[], float], *, speed: float, midnight: float, seed: int = 0
) -> AsyncIterator[None]:
    """Have clients ask the proxy at `url`, day after day while the context is open.

    Args:
        url: the proxy's port for clients.
        clock: what time it is for them, unix seconds.
        speed: seconds of that clock in one of ours, > 0.
        midnight: when the first day began by that clock; what it was to bring before now is left out.
        seed: of the first day; each later one has the next.
    """
    async with aiohttp.ClientSession(url) as session:
        life = asyncio.create_task(_live(session, clock, speed, midnight, seed))
        try:
            yield
        finally:
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)


async def _live(
    session: aiohttp.ClientSession, clock: Callable[[], float], speed: float, midnight: float, seed: int
) -> None:
    asking: set[asyncio.Task[None]] = set()
    began = clock()
    try:
        for days in itertools.count():
            for ask in day(seed + days):
                due = midnight + days * DAY_SECONDS + ask.at
                if due < began:
                    continue
                await asyncio.sleep(max(0.0, due - clock()) / speed)
                if clock() - due < _LATE_SECONDS and len(asking) < _AT_ONCE:  # this machine may be asleep, or too slow
                    task = asyncio.create_task(_send(session, ask))
                    asking.add(task)
                    task.add_done_callback(asking.discard)
    finally:
        for task in tuple(asking):
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


async def _send(session: aiohttp.ClientSession, ask: Ask) -> None:
    try:
        async with session.post(ask.path, json=body(ask)) as response:
            async for _ in response.content.iter_any():
                pass
        if response.status != 200:  # noqa: PLR2004 - HTTP OK
            _log.warning("a made-up client, %s, got status %d for %s", ask.client, response.status, ask.model)
    except aiohttp.ClientError as error:
        _log.warning("a made-up client, %s, got no answer from %s: %s", ask.client, ask.model, error)


def body(ask: Ask) -> dict[str, Any]:
    """Return what the client sends."""
    text = " ".join(["word"] * ask.prompt_words)
    if ask.path == "/api/embed":
        return {"model": ask.model, "input": text}
    base: dict[str, Any] = {"model": ask.model, "stream": ask.stream}
    if ask.path == "/api/generate":
        return {**base, "prompt": text, "options": {"num_predict": ask.answer_tokens}}
    messages = [{"role": "user", "content": text}]
    if ask.path == "/api/chat":
        return {**base, "messages": messages, "options": {"num_predict": ask.answer_tokens}}
    return {**base, "messages": messages, "max_tokens": ask.answer_tokens}
