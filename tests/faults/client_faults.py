"""Faults of clients: they leave, are slow, or never say what they want."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.faults.fault import Fault
from tests.faults.scene import WARM

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.scene import Scene
    from tests.integration.raw_http import Wire

_PIECE_SECONDS = 0.02


class Leaves(Fault):
    """The clients are gone."""

    strikes_sent = True

    def __init__(self, how: Callable[[Wire], None]) -> None:
        self._how = how

    async def strike(self, scene: Scene) -> None:
        for client in scene.clients:
            client.leave(self._how)
        await asyncio.sleep(0.1)  # seen by the proxy before what was held goes on


class LeavesAtOnce(Fault):
    """The clients send their request and are gone before anybody can have read it."""

    def __init__(self, how: Callable[[Wire], None]) -> None:
        self._how = how

    async def strike(self, scene: Scene) -> None:
        await scene.send()
        for client in scene.clients:
            client.leave(self._how)


class ReadsSlowly(Fault):
    """The clients read byte by byte, a thousand in a second instead of one: their answer fits into no buffer's rest."""

    strikes_sent = True

    async def strike(self, scene: Scene) -> None:
        for client in scene.clients:
            client.slow = True


class SendsSlowly(Fault):
    """The clients send head and body in pieces, 20 ms apart instead of a second; no piece is a whole anything."""

    def __init__(self, *, to_the_end: bool) -> None:
        self._to_the_end = to_the_end

    async def strike(self, scene: Scene) -> None:
        for client in scene.clients:
            content = client.request()
            pieces = [content[at : at + 50] for at in range(0, len(content), 50)]
            for piece in pieces if self._to_the_end else pieces[:-1]:
                await client.send(piece)
                await asyncio.sleep(_PIECE_SECONDS)
        if not self._to_the_end:
            await scene.good(WARM)  # nobody else suffers
