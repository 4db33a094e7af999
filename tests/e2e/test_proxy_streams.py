"""Answers stream chunk by chunk, clients that leave free the model but not its load, nobody hangs on busy models."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import pytest_asyncio

from tests.e2e.keepwarm_process import Keepwarm, running_keepwarm
from tests.e2e.ollama_build.model_template import ENDLESS_MODELS, STANDARD_MODELS
from tests.e2e.proxy_fixtures import GENERATES, Answer, Happenings, ask, endless, resident, until
from tests.e2e.real_ollama import RealOllama, RealOllamaOptions

if TYPE_CHECKING:
    from tests.e2e.conftest import StartOllama

pytestmark = pytest.mark.e2e

MODELS = (*STANDARD_MODELS, *ENDLESS_MODELS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ollama(start_module_ollama: "StartOllama") -> RealOllama:
    return await start_module_ollama(RealOllamaOptions(load_mib_per_s=65536, num_parallel=1), MODELS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keepwarm(ollama: RealOllama) -> AsyncIterator[Keepwarm]:
    async with running_keepwarm(ollama.url) as keepwarm:
        yield keepwarm


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a streamed answer arrived."""

    chunks: int
    first_seconds: float
    seconds: float
    content: bytes


async def stream(url: str, path: str, body: dict[str, Any]) -> Arrival:
    """Reads an answer in the pieces of its chunked transfer coding."""
    pieces, first_seconds, began = [], 0.0, time.monotonic()
    async with aiohttp.ClientSession() as session, session.post(url + path, json=body) as answer:
        assert answer.status == 200
        async for piece, _ in answer.content.iter_chunks():
            first_seconds = first_seconds or time.monotonic() - began
            pieces.append(piece)
    return Arrival(len(pieces), first_seconds, time.monotonic() - began, b"".join(pieces))


@pytest.mark.parametrize("path", GENERATES)
async def test_an_answer_arrives_chunk_by_chunk(ollama: RealOllama, keepwarm: Keepwarm, path: str) -> None:
    body = endless(path, 800, stream=True)
    await ask(keepwarm.url, "endless-a", options={"num_predict": 1})  # loaded
    direct, ours = await stream(ollama.url, path, body), await stream(keepwarm.url, path, body)
    assert ours.chunks >= 0.95 * direct.chunks > 700  # the very same 800 tokens
    assert ours.content.count(b"\n") == direct.content.count(b"\n")
    assert ours.first_seconds < 0.5 * ours.seconds
    assert await keepwarm.metric("keepwarm_requests_total", outcome="upstream_error") == 0  # it knows each one's end


async def leave(url: str, path: str, body: dict[str, Any], *, after_chunks: int = 0, after_seconds: float = 0) -> None:
    """A client that reads some chunks, or waits a while for an answer, and closes its connection."""
    async with aiohttp.ClientSession() as session:
        if after_seconds:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(session.post(url + path, json=body), after_seconds)
            return
        async with session.post(url + path, json=body) as answer:
            for _ in range(after_chunks):
                assert await answer.content.readany()


@pytest.mark.parametrize("path", ["/api/generate", "/v1/chat/completions", "/v1/messages"])
async def test_a_client_that_leaves_in_mid_stream_frees_the_model(keepwarm: Keepwarm, path: str) -> None:
    await leave(keepwarm.url, path, endless(path, stream=True), after_chunks=20)
    answer = await ask(keepwarm.url, "endless-a", options={"num_predict": 1})  # it answers one at a time
    assert answer.seconds < 1


async def test_a_client_that_leaves_in_silence_frees_the_model(keepwarm: Keepwarm) -> None:
    await leave(keepwarm.url, "/api/generate", endless("/api/generate", stream=False), after_seconds=1)
    answer = await ask(keepwarm.url, "endless-a", options={"num_predict": 1})
    assert answer.seconds < 1

    async def nobody_left() -> bool:
        return all(line["busy"] == 0 for line in (await keepwarm.state())["residents"])

    await until(nobody_left, 1, "nobody in flight")


async def test_the_load_that_a_client_did_not_wait_for_goes_on(start_ollama: "StartOllama") -> None:
    ollama = await start_ollama(RealOllamaOptions(load_mib_per_s=2048))  # 2.4 s for 4.7 GiB
    async with running_keepwarm(ollama.url) as keepwarm:
        happenings = Happenings(ollama)
        for path in ("/api/chat", "/v1/chat/completions"):
            await leave(keepwarm.url, path, {"model": "llama3.1:8b", **GENERATES[path]}, after_seconds=0.7)

        async def loaded() -> bool:
            known = await keepwarm.metric("keepwarm_loads_total") == 1  # who asks before that is counted as cold
            return known and happenings.of("loaded") == ["llama3.1:8b"]

        await until(loaded, 3, "loaded")
        assert (await ask(keepwarm.url, "llama3.1:8b")).seconds < 1
        assert await resident(ollama) == {"llama3.1:8b"}
        assert happenings.all() == [("loaded", "llama3.1:8b")]
        assert await keepwarm.metric("keepwarm_requests_total", outcome="client_gone") == 2
        assert await keepwarm.metric("keepwarm_requests_total", outcome="warm") == 1


async def test_new_requests_for_busy_victims_do_not_starve_a_cold_one(start_ollama: "StartOllama") -> None:
    """ollama#17408: alone, Ollama answers the cold request when no more requests for its victim come."""
    ollama = await start_ollama(RealOllamaOptions(load_mib_per_s=65536, max_loaded_models=2), MODELS)
    began = time.monotonic()

    async with running_keepwarm(ollama.url, {"memory": {"max_models": 2}}) as keepwarm:

        async def timed(model: str, tokens: int) -> tuple[Answer, float]:
            answer = await ask(keepwarm.url, model, keep_alive="1h", options={"num_predict": tokens, "temperature": 0})
            return answer, time.monotonic() - began

        for model in ("endless-a", "endless-b"):
            await timed(model, 1)
        async with asyncio.TaskGroup() as group:
            lengths = {"endless-a": 3000, "endless-b": 4500}  # about 6 and 10 s
            busy = [group.create_task(timed(model, tokens)) for model, tokens in lengths.items()]
            await asyncio.sleep(0.5)
            cold = group.create_task(timed("llama3.2:1b", 1))
            new: list[asyncio.Task[tuple[Answer, float]]] = []
            while not any(task.done() for task in busy):
                await asyncio.sleep(0.5)
                new += [group.create_task(timed(model, 1)) for model in lengths]
        assert new  # while both were busy
        assert [task.result()[0].json()["eval_count"] for task in busy] == [*lengths.values()]  # none was cut short
        load_seconds = cold.result()[0].json()["load_duration"] / 1e9 + 0.3
        assert cold.result()[1] < max(task.result()[1] for task in busy) + load_seconds + 2
        last = max(task.result()[1] for task in new)
        assert last < max(task.result()[1] for task in [*busy, cold]) + 15  # two swaps at most, with Ollama's pauses
        assert await keepwarm.metric("keepwarm_requests_total", outcome="passthrough") == 0


async def test_one_long_answer_blocks_nobody_but_those_who_need_its_memory(start_ollama: "StartOllama") -> None:
    ollama = await start_ollama(RealOllamaOptions(load_mib_per_s=65536, num_parallel=2), MODELS)
    async with running_keepwarm(ollama.url, {"max_wait": "2s"}) as keepwarm:
        await ask(keepwarm.url, "endless-a", options={"num_predict": 1})
        body = endless("/api/generate", stream=True)
        long = asyncio.create_task(stream(keepwarm.url, "/api/generate", body))
        await asyncio.sleep(0.3)
        began = time.monotonic()
        big = asyncio.create_task(ask(keepwarm.url, "gemma3:27b"))  # only when everyone else is gone
        await asyncio.sleep(0.2)
        small = await ask(keepwarm.url, "llama3.2:1b")  # beside both
        again = await ask(keepwarm.url, "endless-a", options={"num_predict": 1})
        assert 1 < time.monotonic() - began < 4  # max_wait: until then the busy victim admits nobody
        assert again.seconds < 4
        assert small.seconds < 1.5
        assert (await ask(keepwarm.url, "gemma3:4b")).seconds < 1.5  # beside endless-a, as before
        assert not long.done()
        assert not big.done()
        long.cancel()
        answer = await asyncio.wait_for(big, 20)  # three victims, with Ollama's pauses
        assert answer.status == 200
        [model] = await ollama.ps()
        assert (model["name"], model["size_vram"]) == ("gemma3:27b", model["size"])
