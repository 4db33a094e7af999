"""One client connection of the soak: does what the plan says, and notes how each request ended."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.faults.clients import spoken, text_of
from tests.integration.raw_http import Head, Wire, request
from tests.integration.test_unreachable import message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.soak.plan import Action

PATIENCE_SECONDS = 60.0
_LEAVING_SECONDS = 0.05
_SLOW_SECONDS = 0.02


@dataclass(frozen=True)
class Ended:
    """How a request ended (`whole`, `cut`, `dropped`, `left`, `lost` or an error's status), and when (steady clock)."""

    action: Action
    outcome: str
    began_at: float
    ended_at: float


class Connection:
    """Sends one request after the other; connects anew where the connection is gone."""

    def __init__(self, url: str, plan: Iterator[Action]) -> None:
        self.ended: list[Ended] = []
        self._url, self._plan = url, plan
        self._wire: Wire | None = None

    async def run(self, until: float) -> None:
        """Go on until that time of the steady clock; what was begun is ended."""
        try:
            for action in self._plan:
                if time.monotonic() + action.pause_seconds > until:
                    await asyncio.sleep(until - time.monotonic())
                    return
                await asyncio.sleep(action.pause_seconds)
                began_at = time.monotonic()
                outcome = await self._outcome(action)
                self.ended.append(Ended(action, outcome, began_at, time.monotonic()))
        finally:
            self._hang_up()

    async def _outcome(self, action: Action) -> str:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                outcome = await self._ask(action)
        except TimeoutError:
            outcome = "lost"
        if outcome != "whole":
            self._hang_up()
        return outcome

    async def _ask(self, action: Action) -> str:
        begun = False
        try:
            if self._wire is None:
                self._wire = await Wire.connect(self._url)
            await self._wire.send(_request(action))
            if action.behaviour == "leaves before the answer":
                await asyncio.sleep(_LEAVING_SECONDS)
                return "left"
            head = Head.parse(await self._wire.reader.readuntil(b"\r\n\r\n"))
            begun = True
            if head.status != 200:
                assert message(action.path, await self._wire.body(head))
                return str(head.status)
            return await self._read(self._wire, action)
        except (asyncio.IncompleteReadError, ConnectionError):
            return "cut" if begun else "dropped"

    async def _read(self, wire: Wire, action: Action) -> str:
        pieces = []
        while size := int(await wire.reader.readuntil(b"\r\n"), 16):
            pieces.append(await wire.reader.readexactly(size))
            await wire.reader.readexactly(2)
            if action.behaviour == "leaves in the answer":
                return "left"
            if action.behaviour == "resets":
                wire.reset()
                return "left"
            if action.behaviour == "reads slowly":
                await asyncio.sleep(_SLOW_SECONDS)
        await wire.reader.readexactly(2)
        text = text_of(action.path, b"".join(pieces))
        assert text == spoken(action.tokens), f"{action}: {text}"
        return "whole"

    def _hang_up(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None


def _request(action: Action) -> bytes:
    messages = [{"role": "user", "content": "hi"}]
    length = {"max_tokens": action.tokens, "options": {"num_predict": action.tokens}}
    if action.path.startswith("/v1"):
        del length["options"]
    return request(
        action.path, json.dumps({"model": action.model, "messages": messages, "stream": True, **length}).encode()
    )
