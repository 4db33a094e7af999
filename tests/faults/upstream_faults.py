"""Faults of Ollama and of the way to it."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from proxy.sim.faults import Faults
from tests.faults.clients import get
from tests.faults.fault import Fault
from tests.faults.link import LAST_CHUNK, Exchange, Kind, Misbehaviour, Over
from tests.faults.scene import BIG, COLD, NEW, OTHER, VICTIM, WARM
from tests.integration.raw_http import answer, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.scene import Scene

MANAGEMENT = frozenset(Kind) - {Kind.CLIENT}
_BYTE_SECONDS = 0.0003


class Misbehaves(Fault):
    """The link misbehaves for as long as the fault lasts."""

    def __init__(self, misbehaviour: Misbehaviour) -> None:
        self._misbehaviour = misbehaviour

    async def strike(self, scene: Scene) -> None:
        """Also what is in flight suffers, as soon as it goes on."""
        scene.link.misbehaviour = self._misbehaviour

    async def end(self, scene: Scene) -> None:
        """All is well again."""
        scene.link.misbehaviour = Misbehaviour()


class NotListening(Fault):
    """Ollama is gone: its connections end, new ones are refused."""

    async def strike(self, scene: Scene) -> None:
        await scene.link.vanish()

    async def end(self, scene: Scene) -> None:
        await scene.link.listen()


class Restarts(Fault):
    """Ollama ends and is back at once, with nothing loaded."""

    async def strike(self, scene: Scene) -> None:
        await scene.link.vanish()
        await asyncio.sleep(0.1)  # a start takes its time
        await scene.ollama.stop()
        await scene.ollama.start()
        await scene.link.listen()


class Silent(Fault, Misbehaviour):
    """Ollama accepts and reads, and says nothing more: until it goes on, or is killed and started again."""

    def __init__(self, seconds: float, *, goes_on: bool) -> None:
        self.seconds = seconds
        self._goes_on = goes_on
        self._over = asyncio.Event()

    async def strike(self, scene: Scene) -> None:
        scene.link.misbehaviour = self

    async def end(self, scene: Scene) -> None:
        scene.link.misbehaviour = Misbehaviour()
        if not self._goes_on:
            await scene.link.drop()
        self._over.set()

    async def instead(self, exchange: Exchange) -> bytes:
        await self._over.wait()
        return b""

    async def body(self, exchange: Exchange, content: bytes) -> bytes:
        await self._over.wait()
        return content


class Resets(Misbehaviour):
    """Every answer is a reset."""

    async def instead(self, exchange: Exchange) -> bytes:
        exchange.wire.reset()
        raise Over

    async def body(self, exchange: Exchange, content: bytes) -> bytes:
        exchange.wire.reset()
        raise Over


class Says(Misbehaviour):
    """Answers with these bytes, then closes; in mid-answer it says something else."""

    def __init__(self, content: bytes, in_body: bytes | None = None) -> None:
        self._content, self._in_body = content, in_body

    async def instead(self, exchange: Exchange) -> bytes:
        return await self._say(exchange, self._content)

    async def body(self, exchange: Exchange, content: bytes) -> bytes:
        return content if self._in_body is None else await self._say(exchange, self._in_body)

    async def _say(self, exchange: Exchange, content: bytes) -> bytes:
        await exchange.wire.send(content)
        exchange.wire.close()
        raise Over


class SaysMore(Misbehaviour):
    """Something follows each answer that nobody asked for."""

    def __init__(self, more: bytes) -> None:
        self._more = more

    async def head(self, exchange: Exchange, content: bytes) -> bytes:
        return content if b"chunked" in content else content + self._more

    async def body(self, exchange: Exchange, content: bytes) -> bytes:
        return content + self._more if content.endswith(LAST_CHUNK) else content


class ClosesInBody(Misbehaviour):
    """A streamed answer ends with its connection, in good order but for the last chunk."""

    async def body(self, exchange: Exchange, content: bytes) -> bytes:
        await exchange.wire.send(content.removesuffix(LAST_CHUNK))
        exchange.wire.close()
        raise Over


class Slow(Misbehaviour):
    """Byte by byte, three in a millisecond instead of one in a second: what matters is that no read brings two."""

    async def head(self, exchange: Exchange, content: bytes) -> bytes:
        return await self._dribble(exchange, content)

    async def body(self, exchange: Exchange, content: bytes) -> bytes:
        return await self._dribble(exchange, content)

    async def _dribble(self, exchange: Exchange, content: bytes) -> bytes:
        for byte in content:
            await exchange.wire.send(bytes([byte]))
            await asyncio.sleep(_BYTE_SECONDS)
        return b""


class Refuses(Misbehaviour):
    """Calls of these kinds get this answer."""

    def __init__(self, status: str, *kinds: Kind) -> None:
        self._answer = answer(b'{"error":"so it is"}', "Content-Type: application/json", status=status)
        self._kinds = kinds

    async def instead(self, exchange: Exchange) -> bytes:
        return self._answer if exchange.kind in self._kinds else b""


class RefusesClients(Misbehaviour):
    """Clients get this status in the words of the API, as Ollama says it."""

    def __init__(self, status: str) -> None:
        self._status = status

    async def instead(self, exchange: Exchange) -> bytes:
        if exchange.kind is not Kind.CLIENT:
            return b""
        error: dict[str, Any] = {"error": "server busy, please try again.  maximum pending requests exceeded"}
        if exchange.head.target.startswith("/v1"):
            error = {"error": {"message": error["error"], "type": "api_error"}}
        if exchange.head.target == "/v1/messages":
            error["type"] = "error"
        return answer(json.dumps(error).encode(), "Content-Type: application/json", status=self._status)


class Shows(Misbehaviour):
    """`/api/ps` shows something else than there is."""

    def __init__(self, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], seconds: float = 0.0) -> None:
        self._change, self._clock_ahead = change, timedelta(seconds=seconds)

    async def head(self, exchange: Exchange, content: bytes) -> bytes:
        if exchange.kind is not Kind.PS:
            return content
        head, _, body = content.partition(b"\r\n\r\n")
        shown = {"models": self._change(json.loads(body)["models"])}
        date = re.search(rb"Date: ([^\r]*)", head)
        assert date
        now = parsedate_to_datetime(date[1].decode()) + self._clock_ahead
        return answer(json.dumps(shown).encode(), f"Date: {format_datetime(now, usegmt=True)}")


class Unloads(Fault):
    """Somebody beside keepwarm unloads everything that Ollama lets go."""

    async def strike(self, scene: Scene) -> None:
        for model in (WARM, COLD, NEW, VICTIM, BIG):
            await get(f"{scene.ollama.url}/api/generate", {"model": model, "keep_alive": 0})


class Evicts(Fault):
    """Somebody beside keepwarm asks for a model that takes most of the GPU; Ollama evicts for it what is idle."""

    async def strike(self, scene: Scene) -> None:
        before = await _shown(scene)
        self._asking = asyncio.create_task(get(f"{scene.ollama.url}/api/generate", {"model": OTHER, "stream": False}))

        async def has_evicted() -> bool:
            return not before <= await _shown(scene)

        await until(has_evicted, 2)

    async def end(self, scene: Scene) -> None:
        """Ollama would make them wait for 5 s after an eviction; they don't, and nothing more is evicted."""
        self._asking.cancel()
        await asyncio.wait([self._asking])


async def _shown(scene: Scene) -> set[str]:
    shown = json.loads(await get(f"{scene.ollama.url}/api/ps"))
    return {line["name"] for line in shown["models"]}


class PsFault(Fault):
    """The simulated Ollama's own switches; a second for `/api/ps` is within its limit of 5 s, the stall goes beyond."""

    seconds = 1.2

    def __init__(self, **switches: Any) -> None:
        self._switches = switches

    async def strike(self, scene: Scene) -> None:
        for name, value in self._switches.items():
            setattr(scene.ollama.faults, name, value)

    async def end(self, scene: Scene) -> None:
        for name in self._switches:
            setattr(scene.ollama.faults, name, getattr(Faults(), name))


def ghosts(shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Models that were asked for are shown though they are not there, and one that nobody knows."""
    names = {line["name"] for line in shown}
    line = {"size": 2**30, "size_vram": 2**30, "context_length": 4096, "expires_at": "2099-01-01T00:00:00Z"}
    return shown + [line | {"name": name} for name in (NEW, BIG, "nobody:latest") if name not in names]


def expires(seconds: float) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    """All expire so much later."""

    def change(shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
        later = timedelta(seconds=seconds)
        return [
            line | {"expires_at": (datetime.fromisoformat(line["expires_at"]) + later).isoformat()} for line in shown
        ]

    return change


def huge(shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """More than any list of models."""
    return [*shown, {"name": "x" * 10_000_000}]
