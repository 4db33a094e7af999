"""The simulated Ollama over HTTP: its clock, its faults, and what tests can see of it."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from proxy.sim.catalog import SimModel
from proxy.sim.server import SimulatedOllama
from proxy.sim.site import SimulatedOllamaOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

FAST = 100.0  # virtual seconds per second: a load of 1.25 s takes 12.5 ms
MODELS = (SimModel(name="a", mib=4096), SimModel(name="b", mib=4096), SimModel(name="e", mib=256, embedding=True))


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[tuple[SimulatedOllama, aiohttp.ClientSession]]:
    ollama = SimulatedOllama(SimulatedOllamaOptions(**({"models": MODELS, "speed": FAST} | options)))
    async with aiohttp.ClientSession(await ollama.start()) as session:
        try:
            yield ollama, session
        finally:
            await ollama.stop()


async def until(true: Callable[[], bool]) -> None:
    """Waits until something is so."""
    while not true():  # noqa: ASYNC110  the server tells nobody when it has happened
        await asyncio.sleep(0.001)


async def post(session: aiohttp.ClientSession, path: str, **body: Any) -> tuple[int, Any]:
    async with session.post(path, json=body) as answer:
        return answer.status, await answer.json(content_type=None)


async def test_a_faster_clock_loads_faster_and_tells_virtual_durations() -> None:
    async with running() as (_, session):
        began = time.monotonic()
        _, body = await post(session, "/api/generate", model="a", prompt="hi", stream=False)
        assert time.monotonic() - began < 1
        assert body["load_duration"] == pytest.approx(1.25e9, rel=0.6)
        assert body["eval_duration"] == pytest.approx(0.32e9)
        assert (body["eval_count"], body["done_reason"]) == (32, "stop")


async def test_num_predict_shortens_an_answer() -> None:
    async with running() as (_, session):
        _, body = await post(session, "/api/chat", model="a", messages=[{}], stream=False, options={"num_predict": 3})
        assert (body["eval_count"], body["done_reason"]) == (3, "length")
        assert body["message"]["content"] == " The proxy keeps"


async def test_what_happened_is_counted_and_requests_are_kept() -> None:
    async with running(max_loaded_models=1) as (ollama, session):
        await post(session, "/api/generate", model="a")
        await post(session, "/api/generate", model="b", options={"seed": 1})
        assert dict(ollama.tally.loads) == {"a:latest": 1, "b:latest": 1}
        assert dict(ollama.tally.evictions) == {"a:latest": 1}
        assert not ollama.tally.spilled
        last = ollama.requests[-1]
        assert (last.method, last.path) == ("POST", "/api/generate")
        assert json.loads(last.body) == {"model": "b", "options": {"seed": 1}}
        assert ollama.free_bytes() == (24576 - 4096) << 20


async def test_a_model_that_is_too_big_spills_and_is_counted() -> None:
    async with running(gpu_mib=2048) as (ollama, session):
        await post(session, "/api/generate", model="a")
        assert dict(ollama.tally.spilled) == {"a:latest": 1}


async def test_a_client_that_leaves_in_silence_ends_its_load() -> None:
    async with running(speed=10.0) as (ollama, session):
        waiting = asyncio.create_task(post(session, "/api/generate", model="a"))
        await until(lambda: len(ollama.requests) > 0)
        waiting.cancel()
        await until(lambda: ollama.tally.aborted_loads["a:latest"] == 1)
        assert not ollama.tally.loads


async def test_a_stream_that_breaks_ends_in_an_error_for_its_reader() -> None:
    async with running() as (ollama, session):
        ollama.faults.break_stream_after_chunks = 2
        async with session.post("/api/generate", json={"model": "a", "prompt": "hi"}) as answer:
            with pytest.raises(aiohttp.ClientError):
                await answer.read()


async def test_an_unload_can_be_refused_or_ignored() -> None:
    async with running() as (ollama, session):
        await post(session, "/api/generate", model="a")
        ollama.faults.refuse_unload = True
        assert (await post(session, "/api/generate", model="a", keep_alive=0))[0] == 500
        ollama.faults.refuse_unload, ollama.faults.ignore_unload = False, True
        assert (await post(session, "/api/generate", model="a", keep_alive=0))[1]["done_reason"] == "unload"
        assert not ollama.tally.unloads
        ollama.faults.ignore_unload = False
        await post(session, "/api/generate", model="a", keep_alive=0)
        assert ollama.tally.unloads["a:latest"] == 1


async def test_ps_can_fail_in_three_ways() -> None:
    async with running() as (ollama, session):
        ollama.faults.ps_status = 500
        async with session.get("/api/ps") as answer:
            assert answer.status == 500
        ollama.faults.ps_garbage = True
        async with session.get("/api/ps") as answer:
            with pytest.raises(json.JSONDecodeError):
                await answer.json()
        ollama.faults.ps_delay_seconds = 5
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(session.get("/api/ps"), 0.05)


async def test_a_load_can_fail() -> None:
    async with running() as (ollama, session):
        ollama.faults.failing_loads.add("a:latest")
        assert (await post(session, "/api/generate", model="a"))[0] == 500
        ollama.faults.failing_loads.clear()
        assert (await post(session, "/api/generate", model="a"))[0] == 200


async def test_a_hanging_ollama_answers_no_model_request_and_everything_else() -> None:
    async with running() as (ollama, session):
        ollama.faults.hang = True
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(post(session, "/api/generate", model="a"), 0.05)
        async with session.get("/api/version") as answer:
            assert await answer.json() == {"version": "0.32.15"}


async def test_it_starts_again_on_its_port_with_nothing_loaded() -> None:
    async with running() as (ollama, session):
        await post(session, "/api/generate", model="a")
        port = int(ollama.url.rpartition(":")[2])
        await ollama.stop()
        with pytest.raises(aiohttp.ClientError):
            await session.get("/api/ps")
        assert await ollama.start(port=port) == ollama.url
        async with session.get("/api/ps") as answer:
            assert await answer.json() == {"models": []}


async def test_tokens_come_one_by_one_at_their_pace() -> None:
    async with running(speed=1.0, tokens_per_second=50, answer_tokens=5, load_mib_per_second=1e9) as (_, session):
        async with session.post("/api/generate", json={"model": "a", "prompt": "hi"}) as answer:
            came = [time.monotonic() async for _ in answer.content]
        assert len(came) == 6
        assert came[4] - came[0] == pytest.approx(4 / 50, abs=0.06)


async def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="speeds"):
        SimulatedOllamaOptions(tokens_per_second=0)
    with pytest.raises(ValueError, match="speeds"):
        SimulatedOllamaOptions(speed=-1)
