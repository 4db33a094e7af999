"""Sends the state to whoever watches, as server-sent events. Does nothing while nobody does, and keeps no history.

Everyone gets the latest state and no other: who reads slowly misses what lies between. One picture is made for all of
them, at most every `pause_seconds` and only after something changed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable

_STALLED_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How often, and for how many; seconds > 0.

    Attributes:
        pause_seconds: least time between two pictures.
        heartbeat_seconds: after so much silence a comment is sent, so that each side notices when the other is gone.
        watchers: most who watch at the same time; one more gets a 503.
    """

    pause_seconds: float = 0.5
    heartbeat_seconds: float = 10.0
    watchers: int = 16


class Feed:
    """The latest state, for some watchers.

    Args:
        picture: makes one, as JSON in one line.
        pace: how often, and for how many.
    """

    def __init__(self, picture: Callable[[], bytes], pace: Pace) -> None:
        self._picture = picture
        self._pace = pace
        self._watching = 0
        self._latest: bytes | None = None
        self._changed = asyncio.Event()
        self._news = asyncio.Event()
        self._painter: asyncio.Task[None] | None = None
        self._closed = False

    def changed(self) -> None:
        """Say that the state is another one than before; costs next to nothing."""
        self._changed.set()

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """Answer with the state now, and with each later one until the watcher leaves or the feed is closed."""
        if self._closed or self._watching >= self._pace.watchers:
            why = "keepwarm is being stopped" if self._closed else f"{self._watching} pages watch already, no more may"
            return web.Response(status=503, text=f"{why}\n", headers={"Retry-After": "10"})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        self._enter()
        try:
            await response.prepare(request)
            await self._follow(response)
        except TimeoutError:  # stalled: what waits in buffers is not waited for
            if request.transport is not None:
                request.transport.abort()
        except ConnectionError:
            pass  # the watcher left
        finally:
            await self._leave()
        return response

    def close(self) -> None:
        """End all answers, and begin no more."""
        self._closed = True
        self._news.set()

    def _enter(self) -> None:
        self._watching += 1
        if self._painter is None:
            self._latest = None
            self._changed.set()
            self._painter = asyncio.create_task(self._paint())

    async def _leave(self) -> None:
        self._watching -= 1
        if not self._watching and self._painter is not None:
            painter, self._painter = self._painter, None
            painter.cancel()
            await asyncio.gather(painter, return_exceptions=True)

    async def _paint(self) -> None:
        while not self._closed:
            await self._changed.wait()
            self._changed.clear()
            self._latest = b"data: " + self._picture() + b"\n\n"
            news, self._news = self._news, asyncio.Event()
            news.set()
            await asyncio.sleep(self._pace.pause_seconds)

    async def _follow(self, response: web.StreamResponse) -> None:
        sent: bytes | None = None
        while not self._closed:
            if self._latest is not None and self._latest is not sent:
                sent = self._latest
                await _write(response, sent)
                continue
            try:
                async with asyncio.timeout(self._pace.heartbeat_seconds):
                    await self._news.wait()
            except TimeoutError:
                await _write(response, b": nothing new\n\n")


async def _write(response: web.StreamResponse, data: bytes) -> None:
    """Write, or raise TimeoutError where nothing is read any more."""
    async with asyncio.timeout(_STALLED_SECONDS):
        await response.write(data)
