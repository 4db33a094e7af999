"""Loads: when they happen, in which order, and what ends them (OLLAMA.md 7, 9, 11, 13, 20)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.conformance.models import ENDLESS_A, GIB_4_7, GIB_9_0, GIB_9_1, SMALL
from tests.conformance.subject import Model, Setup

if TYPE_CHECKING:
    from tests.conformance.conftest import StartOllama
    from tests.conformance.subject import Answer, Ollama

A, B, C = (model.name for model in SMALL[:3])
SLOW = Model(name="slow:latest", mib=9000, seed=32)
SLOW_SETUP = Setup(models=(SLOW, *SMALL), load_mib_per_s=3000)  # 3 s for the slow one, 0.7 for a small one
WARM_SECONDS = 0.5  # a reload of the only model takes 0.65: 0.4 until its memory is seen free, and the load


def loading(ollama: Ollama, model: str, **body: Any) -> asyncio.Task[Answer]:
    return asyncio.ensure_future(ollama.post("/api/generate", model=model, **body))


@pytest.mark.parametrize(
    "options",
    [{"num_ctx": 4096}, {"num_batch": 256}, {"num_gpu": 1}, {"num_thread": 2}, {"use_mmap": True}, {"main_gpu": 0}],
    ids=str,
)
async def test_a_request_with_other_runner_options_reloads_the_model(
    start: StartOllama, options: dict[str, Any]
) -> None:
    ollama = await start(Setup(models=SMALL))
    await ollama.load(A)
    assert await ollama.load(A, options=options) > WARM_SECONDS
    assert await ollama.load(A, options=options) < WARM_SECONDS
    [line] = (await ollama.ps()).values()
    assert line["context_length"] == options.get("num_ctx", 8192)


async def test_shift_is_a_runner_option_too(start: StartOllama) -> None:
    ollama = await start(Setup(models=SMALL))
    await ollama.load(A)
    assert await ollama.load(A, shift=True) < WARM_SECONDS
    assert await ollama.load(A, shift=False) > WARM_SECONDS


async def test_a_request_without_num_ctx_reloads_a_model_that_was_loaded_with_one(start: StartOllama) -> None:
    ollama = await start(Setup(models=SMALL))
    await ollama.load(A, options={"num_ctx": 2048})
    assert await ollama.load(A) > WARM_SECONDS
    assert (await ollama.ps())[A]["context_length"] == 8192


async def test_an_explicit_num_ctx_that_comes_to_the_automatic_one_reloads_nothing(start: StartOllama) -> None:
    ollama = await start(Setup(models=SMALL))
    await ollama.load(A)
    assert await ollama.load(A, options={"num_ctx": 8192}) < WARM_SECONDS
    assert await ollama.load(A, options={"num_ctx": 100000}) < WARM_SECONDS  # the model was trained for 8192
    assert await ollama.load(A, options={"temperature": 0.1, "seed": 7, "num_gpu": -1}) < WARM_SECONDS


async def test_a_request_for_a_loaded_model_passes_while_another_loads(start: StartOllama) -> None:
    ollama = await start(SLOW_SETUP)
    await ollama.load(A)
    async with ollama.meanwhile(ollama.post("/api/generate", model=SLOW.name)) as slow:
        await ollama.sleep(0.5)
        assert await ollama.load(A) < 1
        assert not slow.done()
        assert (await slow).seconds == pytest.approx(3.25, abs=0.9)


async def test_cold_requests_are_loaded_one_at_a_time_in_order_of_arrival(start: StartOllama) -> None:
    ollama = await start(SLOW_SETUP)
    slow = loading(ollama, SLOW.name)
    await ollama.sleep(0.4)
    first = loading(ollama, A)
    await ollama.sleep(0.4)
    second = loading(ollama, B)
    seconds = [answer.seconds for answer in await asyncio.gather(slow, first, second)]
    assert seconds == pytest.approx([3.25, 3.25 - 0.4 + 0.7, 3.25 - 0.8 + 1.4], abs=0.9)


async def test_a_request_for_a_model_that_is_loading_queues_behind_other_cold_ones(start: StartOllama) -> None:
    ollama = await start(SLOW_SETUP)
    slow = loading(ollama, SLOW.name)
    await ollama.sleep(0.4)
    small = loading(ollama, A)
    await ollama.sleep(0.4)
    again = loading(ollama, SLOW.name)
    await slow
    await ollama.sleep(0.3)
    assert not again.done()  # though its model is loaded
    assert [answer.status for answer in await asyncio.gather(small, again)] == [200, 200]


async def test_a_client_that_leaves_ends_the_load_it_waits_for(start: StartOllama) -> None:
    ollama = await start(SLOW_SETUP)
    slow = loading(ollama, SLOW.name)
    await ollama.sleep(1)
    behind = loading(ollama, A)
    await ollama.sleep(0.2)
    slow.cancel()
    await behind
    assert list(await ollama.ps()) == [A]


async def test_a_client_that_leaves_the_queue_loads_nothing(start: StartOllama) -> None:
    ollama = await start(SLOW_SETUP)
    slow = loading(ollama, SLOW.name)
    await ollama.sleep(0.3)
    leaver = loading(ollama, A)
    await ollama.sleep(0.3)
    leaver.cancel()
    await slow
    await ollama.load(B)
    assert set(await ollama.ps()) == {SLOW.name, B}


async def test_a_full_queue_refuses_cold_requests_and_serves_warm_ones(start: StartOllama) -> None:
    ollama = await start(Setup(models=(SLOW, *SMALL), load_mib_per_s=3000, max_queue=1))
    await ollama.load(C)
    slow = loading(ollama, SLOW.name)
    await ollama.sleep(0.4)
    waiting = loading(ollama, A)
    await ollama.sleep(0.4)
    refused = await ollama.post("/api/generate", model=B)
    busy = "server busy, please try again.  maximum pending requests exceeded"
    assert (refused.status, refused.body) == (503, {"error": busy})
    assert await ollama.load(C) < 1
    assert [answer.status for answer in await asyncio.gather(slow, waiting)] == [200, 200]


async def test_one_loaded_model_answers_num_parallel_requests_at_a_time(start: StartOllama) -> None:
    ollama = await start(Setup(models=(ENDLESS_A,), num_parallel=1))
    async with ollama.busy(ENDLESS_A.name):
        body = {"prompt": "hi", "options": {"num_predict": 2}}
        async with ollama.meanwhile(ollama.post("/api/generate", model=ENDLESS_A.name, **body)) as behind:
            await ollama.sleep(1)
            assert not behind.done()
    # the first has ended now
    again = await ollama.post("/api/generate", model=ENDLESS_A.name, **body)
    assert again.body["eval_count"] == 2


async def test_num_gpu_below_all_layers_skips_the_check_of_free_memory(start: StartOllama) -> None:
    ollama = await start(Setup(models=(GIB_9_0, GIB_9_1, GIB_4_7)))
    await ollama.load(GIB_9_0.name)
    await ollama.load(GIB_4_7.name)
    blocks = (await ollama.post("/api/show", model=GIB_9_1.name)).body["model_info"]["llama.block_count"]
    await ollama.load(GIB_9_1.name, options={"num_gpu": blocks})
    assert set(await ollama.ps()) == {GIB_9_0.name, GIB_4_7.name, GIB_9_1.name}


async def test_a_timeout_shorter_than_the_load_never_succeeds(start: StartOllama) -> None:
    ollama = await start(SLOW_SETUP)
    for _ in range(2):
        slow = loading(ollama, SLOW.name)
        await ollama.sleep(1.5)
        slow.cancel()
        with pytest.raises((asyncio.CancelledError, aiohttp.ClientError)):
            await slow
    assert await ollama.ps() == {}
