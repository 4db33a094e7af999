"""A day with one keepwarm, in a minute: work, thrash, spills, mistakes, an outage.

Each part ends when Prometheus has seen what it is about.
"""

import asyncio
import io
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from typing import Any

import aiohttp
import msgspec

from proxy.sim.catalog import DEFAULT_MODELS, SimModel
from proxy.sim.server import SimulatedOllama
from proxy.sim.site import SimulatedOllamaOptions
from tests.e2e.keepwarm_process import Keepwarm
from tests.monitoring.prometheus import SCRAPE_SECONDS, Prometheus

CHAT, EMBED, BIG, BIGGER, TOO_BIG = "llama3.1:8b", "nomic-embed-text", "phi4:14b", "gemma3:27b", "too-big:70b"
SHORT_LIVED, BROKEN = "llama3.2:1b", "qwen3:8b"
TALKATIVE = "talkative:1b"
MODELS = (
    *DEFAULT_MODELS,
    SimModel(name=TOO_BIG, mib=40960, answer_tokens=3000),
    SimModel(name=TALKATIVE, mib=1024, answer_tokens=10_000),
)
FAST = SimulatedOllamaOptions(models=MODELS, load_mib_per_second=16384, speed=10)  # a pause of 5 s takes 0.5 s
AS_THE_CLOCK = replace(FAST, load_mib_per_second=65536, speed=1)  # for a keep_alive to run out when keepwarm thinks so
SETTINGS: dict[str, Any] = {
    "residency": {"poll": "200ms"},
    "memory": {"settle": "50ms"},
    "models": {SHORT_LIVED: {"min": "1s", "max": "1s"}},
}
UNKNOWN_NAMES = 10_000
_LARGE_BYTES = 48 * 2**20
_AT_ONCE = 32


class Day:
    """What happens, and when.

    Attributes:
        began, ended: its first and last moment, unix seconds.
        calm: from when to when people just worked.
        shown: the metrics at its end.
    """

    def __init__(
        self, ollama: SimulatedOllama, keepwarm: Keepwarm, prometheus: Prometheus, client: aiohttp.ClientSession
    ) -> None:
        """`ollama` runs at a fast clock; another one takes its place in the end."""
        self.prometheus = prometheus
        self.keepwarm = keepwarm
        self.calm = (0.0, 0.0)
        self.shown = b""
        self.began = self.ended = time.time()
        self._ollama = ollama
        self._client = client

    async def close(self) -> None:
        """Stop the Ollama that runs now."""
        await self._ollama.stop()

    async def happen(self) -> None:
        """All of it, one after the other."""
        await self.prometheus.until("keepwarm_upstream_up == 1")
        began = time.time()
        await self._work()
        self.calm = (began, time.time())
        await self._mistakes_in_the_settings()
        await self._large_bodies()
        await self._two_that_do_not_fit_together()
        await self._other_options_and_an_unload()
        await self._too_big_for_the_gpu()
        await self._more_models_than_ollama_keeps()
        await self._errors()
        await self._names_that_nobody_knows()
        await self._a_locked_history()
        await self._an_outage()
        await self._one_that_expires()
        self.shown = await self._get(self.keepwarm.admin, "/metrics")
        await self.keepwarm.stop()
        self.ended = await self.prometheus.until("absent(keepwarm_build_info)")

    async def _work(self) -> None:
        for _ in range(10):
            await self.ask(CHAT, prompt="Hello")
            await self.ask(CHAT, "/v1/chat/completions", messages=[{"role": "user", "content": "Hello"}])
            await self.ask(CHAT, "/api/chat", messages=[{"role": "user", "content": "Hello"}], keep_alive="10m")
            await self.ask(EMBED, "/api/embed", input="Hello")
            await self._get(self.keepwarm.url, "/api/tags")
            await asyncio.sleep(SCRAPE_SECONDS)

    async def _mistakes_in_the_settings(self) -> None:
        good = self.keepwarm.config.read_text()
        self.keepwarm.config.write_text('{"memory": {"budget": "much"}}')
        await self.prometheus.until("keepwarm_config_last_reload_successful == 0")
        self.keepwarm.config.write_text(good)
        await self.prometheus.until("keepwarm_config_last_reload_successful == 1")

    async def _large_bodies(self) -> None:
        for _ in range(2):
            await self.ask(CHAT, prompt="Hello", padding="x" * _LARGE_BYTES)
        await self.prometheus.until("keepwarm:overhead_seconds:p99_5m > 0.05")

    async def _two_that_do_not_fit_together(self) -> None:
        for _ in range(8):
            await self.ask(BIG, prompt="Hello")
            await self.ask(BIGGER, prompt="Hello")
        await self.prometheus.until("keepwarm:regrets:increase1h > 5")

    async def _other_options_and_an_unload(self) -> None:
        await self.ask(BIG, prompt="Hello", options={"num_ctx": 2048})
        await self.ask(BIG, prompt="Hello", options={"num_ctx": 8192})
        await self.ask(BIG, keep_alive=0)
        await self.prometheus.until("keepwarm_explicit_unloads_total > 0")

    async def _too_big_for_the_gpu(self) -> None:
        async with asyncio.TaskGroup() as requests:
            requests.create_task(self.ask(TOO_BIG, prompt="Hello"))
            await self.prometheus.until("keepwarm:spilled_bytes > 0")
            requests.create_task(self.ask(BIG, prompt="Hello"))  # is held until the first is answered
            await self.prometheus.until("keepwarm:memory_headroom:ratio < 0.05 and keepwarm_requests_waiting > 0")

    async def _more_models_than_ollama_keeps(self) -> None:
        for model in ("llama3.2:3b", "gemma3:4b", CHAT):
            await self.ask(model, prompt="Hello")
        await self.ask(EMBED, "/api/embed", input="Hello")
        await self.prometheus.until("keepwarm_residents == keepwarm_residents_limit")
        await self._post(self._ollama.url, "/api/generate", {"model": BIGGER, "prompt": "Hello", "stream": False})
        await self.prometheus.until('keepwarm_evictions_total{cause="upstream"} > 0')

    async def _errors(self) -> None:
        self._ollama.faults.failing_loads.add(BROKEN)
        await self.ask(BROKEN, prompt="Hello", status=500)
        await self.prometheus.until("keepwarm_management_failures_total > 0")
        for _ in range(4):
            await self.ask(BROKEN, prompt="Hello", status=500)
        self._ollama.faults.break_stream_after_chunks = 1
        await self.leave(after_seconds=None)
        self._ollama.faults.break_stream_after_chunks = None
        await self.leave(after_seconds=0.2)
        await self._get(self.keepwarm.url, "/api/tags", status=403, Host="a-name-that-points-here.example")
        await self.prometheus.until("keepwarm:management_failures:increase15m > 2")

    async def _names_that_nobody_knows(self) -> None:
        names = iter(f"made-up-{number}" for number in range(UNKNOWN_NAMES))

        async def ask_on() -> None:
            for name in names:
                await self.ask(name, prompt="Hello", status=404)

        await asyncio.gather(*(ask_on() for _ in range(_AT_ONCE)))

    async def _a_locked_history(self) -> None:
        with closing(sqlite3.connect(self.keepwarm.store, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            await self.prometheus.until("keepwarm_store_up == 0")

    async def _an_outage(self) -> None:
        port = int(self._ollama.url.rpartition(":")[2])
        await self._ollama.stop()
        await self.prometheus.until("keepwarm_upstream_up == 0")
        self._ollama = SimulatedOllama(AS_THE_CLOCK)
        await self._ollama.start(port=port)
        await self.prometheus.until("keepwarm_upstream_up == 1")

    async def _one_that_expires(self) -> None:
        await self.ask(SHORT_LIVED, prompt="Hello")
        await self.prometheus.until("keepwarm_expiries_total > 0")

    async def ask(self, model: str, path: str = "/api/generate", *, status: int = 200, **body: Any) -> None:
        """A request to keepwarm, which must be answered with this status."""
        answered = await self._post(self.keepwarm.url, path, {"model": model, "stream": False, **body})
        assert answered == status, (model, path, answered)

    async def leave(self, after_seconds: float | None) -> None:
        """Ask for a long answer and leave in its middle; None: read until it breaks off."""
        body = {"model": TALKATIVE, "prompt": "Hello"}
        async with self._client.post(f"{self.keepwarm.url}/api/generate", json=body) as answer:
            try:
                async with asyncio.timeout(after_seconds):
                    await answer.read()
            except (TimeoutError, aiohttp.ClientPayloadError):
                return
        raise AssertionError("the answer was whole")

    async def _get(self, url: str, path: str, status: int = 200, **headers: str) -> bytes:
        async with self._client.get(url + path, headers=headers) as answer:
            assert answer.status == status
            return await answer.read()

    async def _post(self, url: str, path: str, body: dict[str, Any]) -> int:
        async with self._client.post(url + path, data=io.BytesIO(msgspec.json.encode(body))) as answer:
            await answer.read()
            return answer.status
