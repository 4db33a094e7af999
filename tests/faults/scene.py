"""Where a fault strikes: keepwarm, the link, a simulated Ollama, and clients in one of five phases.

After the fault it is looked whether everything is as it was: nothing in flight or waiting, no reservation, no task, the
residents known, the next requests answered, memory and descriptors given back.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from proxy.sim.catalog import SimModel
from proxy.sim.site import SimulatedOllamaOptions
from tests.faults.clients import ANSWER_TOKENS, PATHS, Client, get
from tests.faults.link import Kind, Link
from tests.integration.raw_http import until

if TYPE_CHECKING:
    from proxy.sim.server import SimulatedOllama

RECOVERY_SECONDS = 2.0
PATIENCE_SECONDS = 15.0
MOST_GROWTH_BYTES, MOST_PEAK_BYTES = 24 * 2**20, 64 * 2**20
_MIB = {"warm": 1024, "cold": 2048, "new": 2048, "victim": 13 * 1024, "big": 14 * 1024, "other": 19 * 1024}
WARM, COLD, NEW, VICTIM, BIG, OTHER = (f"{name}:latest" for name in _MIB)
OLLAMA = SimulatedOllamaOptions(
    models=tuple(SimModel(name=name, mib=mib) for name, mib in _MIB.items()),
    load_mib_per_second=2**20,
    load_overhead_seconds=0.02,
    tokens_per_second=1_000_000.0,
    answer_tokens=ANSWER_TOKENS,
    num_parallel=4,
)


class Phase(StrEnum):
    """Where the requests of a cell are when the fault strikes."""

    WARM = "warm"
    LOADING = "cold and loading"
    WAITING = "waiting for a victim"
    UNLOADING = "victim being unloaded"
    STREAMING = "streaming"


class Place(Protocol):
    """A running keepwarm; of several starts the latest."""

    @property
    def url(self) -> str:
        """Where clients reach it."""

    @property
    def admin(self) -> str:
        """Where its admin port is."""

    @property
    def pid(self) -> int:
        """Its process."""


@dataclass(frozen=True)
class Belongings:
    """What a process has; the tasks of its event loop where they can be seen."""

    descriptors: tuple[str, ...]
    tasks: tuple[str, ...]
    resident_bytes: int

    @classmethod
    def of(cls, pid: int) -> Belongings:
        """Count now."""
        descriptors = []
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # that of the folder itself
                descriptors.append(str(link.readlink()))
        tasks = sorted(repr(task.get_coro()) for task in asyncio.all_tasks()) if pid == os.getpid() else []
        return cls(tuple(sorted(descriptors)), tuple(tasks), _memory(pid, "VmRSS"))


@dataclass
class Scene:
    """One cell's world.

    Attributes:
        settings: the settings file.
        history: the usage history; alone in its folder.
        clients: those whose outcome the table tells, one to each API.
        busy: others, whose streams keep the victim busy while `clients` wait for it.
    """

    ollama: SimulatedOllama
    link: Link
    place: Place
    settings: Path
    history: Path
    clients: list[Client] = field(default_factory=list)
    busy: list[Client] = field(default_factory=list)
    _before: Belongings = field(init=False)

    async def begin(self) -> None:
        """Make one model warm, and remember what the process has then."""
        for _ in range(2):  # what is made once is made now
            await self.good(WARM)
            await self.good(COLD)
        await until(self._is_at_rest, RECOVERY_SECONDS)
        await self.link.drop()
        await asyncio.sleep(0.05)
        self._before = Belongings.of(self.place.pid)
        _forget_peak(self.place.pid)

    async def enter(self, phase: Phase, *, sent: bool) -> None:
        """Bring requests into a phase and hold them there; where the model is warm, they are sent only if `sent`."""
        model = {Phase.WARM: WARM, Phase.STREAMING: WARM, Phase.LOADING: NEW}.get(phase, BIG)
        self.clients = self._clients_of(model)
        if phase in (Phase.WAITING, Phase.UNLOADING):
            await self.good(VICTIM)
        if phase is Phase.WAITING:
            self.busy = self._clients_of(VICTIM)
            await self._send_until(self.busy, Kind.CLIENT, in_body=True)
        for client in self.clients:
            await client.connect()
        await get(f"{self.place.admin}/healthz")  # whoever came before was accepted by then
        match phase:
            case Phase.WARM if sent:
                await self._send_until(self.clients, Kind.CLIENT)
            case Phase.STREAMING:
                await self._send_until(self.clients, Kind.CLIENT, in_body=True)
            case Phase.LOADING | Phase.UNLOADING:
                await self._send_until(self.clients, Kind.LOAD if phase is Phase.LOADING else Kind.UNLOAD, 1)
                await until(self._all_wait, RECOVERY_SECONDS)
            case Phase.WAITING:
                await self.send()
                await until(self._all_wait, RECOVERY_SECONDS)

    async def send(self) -> None:
        """Let the clients send their requests."""
        for client in self.clients:
            await client.send()

    async def outcomes(self, clients: list[Client]) -> set[str]:
        """How these requests ended; one word, unless the APIs differ."""
        ended = await asyncio.gather(*(client.outcome(PATIENCE_SECONDS) for client in clients))
        return set(ended)

    async def recovers(self) -> None:
        """Check what must hold after any fault."""
        await self.close()
        await until(self._is_at_rest, RECOVERY_SECONDS)
        await until(self._knows_residents, RECOVERY_SECONDS)
        await self.good(WARM)
        await self.good(COLD)
        await until(self._is_at_rest, RECOVERY_SECONDS)
        await self._has_what_it_had()
        grown = _memory(self.place.pid, "VmRSS") - self._before.resident_bytes
        assert grown < MOST_GROWTH_BYTES, f"{grown >> 20} MiB more than before"
        peak = _memory(self.place.pid, "VmHWM") - self._before.resident_bytes
        assert peak < MOST_PEAK_BYTES, f"{peak >> 20} MiB more than before, for a while"

    async def good(self, model: str) -> None:
        """Send a good request, which must succeed."""
        client = Client(self.place.url, PATHS[0], model)
        await client.send()
        outcome = await client.outcome(PATIENCE_SECONDS)
        await client.close()
        assert outcome == "whole", f"a good request to {model}: {outcome}"

    async def close(self) -> None:
        """Let all clients leave."""
        for client in (*self.clients, *self.busy):
            await client.close()

    async def state(self) -> dict[str, Any]:
        """What /state tells."""
        return dict(json.loads(await get(f"{self.place.admin}/state")))

    def _clients_of(self, model: str) -> list[Client]:
        return [Client(self.place.url, path, model) for path in PATHS]

    async def _send_until(self, clients: list[Client], kind: Kind, count: int = 0, *, in_body: bool = False) -> None:
        self.link.hold(kind, in_body=in_body)
        for client in clients:
            await client.send()
        await self.link.reached(kind, count or len(clients), in_body=in_body)
        if in_body:
            for client in clients:
                await client.begun()

    async def _all_wait(self) -> bool:
        return bool((await self.state())["waiting"] == len(self.clients))

    async def _is_at_rest(self) -> bool:
        state = await self.state()
        metrics = await get(f"{self.place.admin}/metrics")
        passing = re.search(rb"\n.*_passthrough_requests_in_flight ([\d.]+)\n", metrics)
        assert passing
        busy = sum(resident["busy"] for resident in state["residents"])
        at_work = state["waiting"], state["in_flight"], busy, float(passing[1]), state["operation"]
        return state["upstream_known"] and not any(at_work)

    async def _knows_residents(self) -> bool:
        lines = json.loads(await get(f"{self.ollama.url}/api/ps"))["models"]
        shown = {(line["name"], line["size"], line["size_vram"]) for line in lines}
        known = (await self.state())["residents"]
        return shown == {(line["model"], line["bytes"], line["vram_bytes"]) for line in known}

    async def _has_what_it_had(self) -> None:
        deadline = time.monotonic() + RECOVERY_SECONDS
        while True:
            await self.link.drop()  # idle connections to Ollama are no leak
            await asyncio.sleep(0.02)
            now, before = Belongings.of(self.place.pid), self._before
            if len(now.descriptors) <= len(before.descriptors) and len(now.tasks) <= len(before.tasks):
                return
            assert time.monotonic() < deadline, f"\nbefore {before}\nnow    {now}"


def _forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _memory(pid: int, what: str) -> int:
    found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024
