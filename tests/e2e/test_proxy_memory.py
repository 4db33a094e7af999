"""Who is in 24 GiB: the victims that the proxy chose, at once and not after Ollama's pauses."""

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.keepwarm_process import Keepwarm, running_keepwarm
from tests.e2e.ollama_build.model_template import PretendedModel
from tests.e2e.proxy_fixtures import FAST, Happenings, ask, pause_is_over, post, resident, until
from tests.e2e.real_ollama import RealOllama, RealOllamaOptions

if TYPE_CHECKING:
    from tests.e2e.conftest import StartOllama

pytestmark = pytest.mark.e2e


async def assert_nothing_spilled(ollama: RealOllama) -> None:
    for model in await ollama.ps():
        assert model["size_vram"] == model["size"], model


async def assert_agreement(keepwarm: Keepwarm, ollama: Happenings) -> None:
    """The proxy's metrics tell of the same loads and evictions as Ollama's log, and Ollama evicted nobody itself."""
    assert ollama.of("evicted by Ollama") == []
    assert await keepwarm.metric("keepwarm_loads_total") == len(ollama.of("loaded"))
    assert await keepwarm.metric("keepwarm_evictions_total") == len(ollama.of("left"))


# Who has to leave, whatever the details of the rule: 3 models may be loaded, each load takes as long as the model is
# big, and the first two models are used most. 17 GiB fit beside nobody (80 % of what is free, OLLAMA.md 8).
SCRIPT: tuple[tuple[str, int, set[str]], ...] = (
    ("llama3.1:8b", 4, set()),
    ("deepseek-r1:14b", 4, set()),
    ("llama3.2:1b", 1, set()),
    ("llama3.1:8b", 2, set()),
    ("deepseek-r1:14b", 2, set()),
    ("gemma3:4b", 1, {"llama3.2:1b"}),
    ("qwen3:8b", 1, {"gemma3:4b"}),
    ("llama3.1:8b", 1, set()),
    ("gemma3:27b", 1, {"llama3.1:8b", "deepseek-r1:14b", "qwen3:8b"}),
    ("llama3.1:8b", 1, set()),  # 80 % of the 7 GiB beside it
    ("llama3.2:1b", 1, set()),
    ("gemma3:27b", 1, set()),
)


async def play(keepwarm: Keepwarm, ollama: RealOllama) -> None:
    for model, times, leaving in SCRIPT:
        step = Happenings(ollama)
        for _ in range(times):
            await ask(keepwarm.url, model)
        await assert_nothing_spilled(ollama)
        assert set(step.of("left")) == leaving, (model, step.all())
        assert model in await resident(ollama)


async def test_the_chosen_victims_leave_and_nobody_else(start_ollama: "StartOllama") -> None:
    prompt = await start_ollama(RealOllamaOptions(load_mib_per_s=8192))
    slow = await start_ollama(RealOllamaOptions(load_mib_per_s=8192, release_ms=1500))
    async with running_keepwarm(prompt.url) as keepwarm, running_keepwarm(slow.url) as patient:
        happenings = Happenings(prompt)
        await learn_to_settle(patient, slow)
        await asyncio.gather(play(keepwarm, prompt), play(patient, slow))
        await assert_agreement(keepwarm, happenings)
        assert await keepwarm.metric("keepwarm_reloads_total", cause="spill") == 0
        assert await patient.metric("keepwarm_reloads_total", cause="spill") == 1  # what it learnt from


async def learn_to_settle(keepwarm: Keepwarm, ollama: RealOllama) -> None:
    """One repaired spill teaches how slow the driver is."""
    happenings = Happenings(ollama)
    for model in ("phi4:14b", "gemma3:27b"):  # the second is loaded 0.5 s after the first has left
        await ask(keepwarm.url, model)
        await assert_nothing_spilled(ollama)
    assert happenings.of("loaded") == ["phi4:14b", "gemma3:27b", "gemma3:27b"]
    assert await keepwarm.metric("keepwarm_reloads_total", cause="spill") == 1
    assert await keepwarm.metric("keepwarm_spilled_bytes_total") > 1 << 30
    assert (await keepwarm.state())["settle_seconds"] > 1.5
    await post(keepwarm.url, "/api/generate", {"model": "gemma3:27b", "keep_alive": 0})
    await pause_is_over(ollama)


async def test_a_spill_that_loading_again_did_not_cure_is_left_alone(start_ollama: "StartOllama") -> None:
    ollama = await start_ollama(FAST)
    ollama.set_used_mib(8000)  # another program; the budget says 24 GiB
    async with running_keepwarm(ollama.url) as keepwarm:
        await ask(keepwarm.url, "gemma3:27b")  # 17 GiB
        await ask(keepwarm.url, "phi4:14b")
        happenings = Happenings(ollama)
        await ask(keepwarm.url, "gemma3:27b")
        assert happenings.of("loaded") == ["gemma3:27b"]
        assert (await keepwarm.state())["settle_seconds"] == 0.5  # no driver was slow


async def test_a_pinned_model_outlives_those_that_are_used_more(start_ollama: "StartOllama") -> None:
    ollama = await start_ollama(FAST)
    async with running_keepwarm(ollama.url, {"models": {"gemma3:4b": {"pin": True}}}) as keepwarm:
        happenings = Happenings(ollama)
        await ask(keepwarm.url, "gemma3:4b")
        for model in ("llama3.1:8b", "deepseek-r1:14b", "qwen3:8b", "llama3.1:8b"):  # 3 of these 4 may be loaded
            for _ in range(3):
                await ask(keepwarm.url, model)
        assert "gemma3:4b" not in happenings.of("left")
        longest = max(await ollama.ps(), key=lambda line: line["expires_at"])
        assert longest["name"] == "gemma3:4b"
        await assert_agreement(keepwarm, happenings)


# "first" and "beside" are loaded, "second" takes the place of "first": so "second" and "beside" see the same free
# memory, and the pause after the unload of either is 5 s for certain, whatever Ollama's dice say (OLLAMA.md 16, 17).
FIRST, SECOND, BESIDE, THIRD, BIG = MODELS = [
    PretendedModel(name=name, seed=seed, mib=mib)
    for name, seed, mib in (
        ("first", 1, 5000),
        ("second", 2, 5000),
        ("beside", 3, 9000),
        ("third", 5, 5000),
        ("big", 4, 17408),
    )
]


async def arrange(url: str, ollama: RealOllama, **second: Any) -> None:
    """Leaves "beside" and "second" resident, asked for with what `second` says, and Ollama in a pause of 5 s."""
    await ask(url, "first")
    await ask(url, "beside")
    await post(url, "/api/generate", {"model": "first", "keep_alive": 0})
    await ask(url, "second", **second)
    assert await resident(ollama) == {"beside", "second"}


async def test_a_swap_by_the_proxy_does_not_pay_ollama_s_pause(start_ollama: "StartOllama") -> None:
    async def swap(url: str, ollama: RealOllama) -> float:
        await arrange(url, ollama)
        await pause_is_over(ollama)
        happenings = Happenings(ollama)
        seconds = (await ask(url, "third")).seconds  # of which there is no place for three
        assert happenings.of("loaded") == ["third"]
        assert len(happenings.of("left")) == 1
        return seconds

    two_models = RealOllamaOptions(load_mib_per_s=65536, max_loaded_models=2)
    direct, behind = await start_ollama(two_models, MODELS), await start_ollama(two_models, MODELS)
    async with running_keepwarm(behind.url, {"memory": {"max_models": 2}}) as keepwarm:
        alone, with_us = await asyncio.gather(swap(direct.url, direct), swap(keepwarm.url, behind))
    assert alone > 5  # else there is nothing to save, and this test shows nothing
    assert with_us < alone / 2, (with_us, alone)  # a load of 0.3 s, and settling for 0.5 s


async def test_another_num_ctx_is_loaded_without_ollama_s_pause(start_ollama: "StartOllama") -> None:
    async def change(url: str, ollama: RealOllama) -> float:
        await arrange(url, ollama, options={"num_ctx": 2048})
        seconds = []
        for num_ctx in (4096, 2048):  # twice, and the better one counts: a load itself may take long on a busy machine
            await pause_is_over(ollama)
            seconds.append((await ask(url, "second", options={"num_ctx": num_ctx})).seconds)
            contexts = {line["name"]: line["context_length"] for line in await ollama.ps()}
            assert contexts["second:latest"] == num_ctx
            assert "beside:latest" in contexts
        return min(seconds)

    direct, behind = await start_ollama(FAST, MODELS), await start_ollama(FAST, MODELS)
    async with running_keepwarm(behind.url) as keepwarm:
        happenings = Happenings(behind)
        alone, with_us = await asyncio.gather(change(direct.url, direct), change(keepwarm.url, behind))
        assert happenings.of("evicted by Ollama") == []  # the proxy unloaded it
    assert with_us < alone - 3, (with_us, alone)  # alone: 5.3 s for a load of 0.3 s


async def test_room_made_ahead_in_idle_time_makes_a_later_miss_cheaper(start_ollama: "StartOllama") -> None:
    async def miss(keepwarm: Keepwarm, ollama: RealOllama, *, idle: bool) -> float:
        for _ in range(8):
            await ask(keepwarm.url, "big")
        await post(keepwarm.url, "/api/generate", {"model": "big", "keep_alive": 0})
        await pause_is_over(ollama)
        await arrange(keepwarm.url, ollama)
        for _ in range(12):  # the pause, idle seconds, and the pause after what is unloaded in them
            await asyncio.sleep(1)
            if not idle:
                await ask(keepwarm.url, "second")
        happenings = Happenings(ollama)
        seconds = (await ask(keepwarm.url, "big")).seconds  # both others have to be gone
        assert happenings.of("evicted by Ollama") == []
        assert await resident(ollama) == {"big"}
        return seconds

    async with AsyncExitStack() as stack:
        ollamas = [await start_ollama(FAST, MODELS) for _ in range(2)]
        calm, restless = [await stack.enter_async_context(running_keepwarm(ollama.url)) for ollama in ollamas]
        cheap, dear = await asyncio.gather(miss(calm, ollamas[0], idle=True), miss(restless, ollamas[1], idle=False))
        assert await calm.metric("keepwarm_evictions_total", cause="room_ahead") == 1
        assert await restless.metric("keepwarm_evictions_total", cause="room_ahead") == 0
    assert dear > 5  # the second of two victims waits for the first one's pause
    assert cheap < 2.5, cheap


async def test_without_a_budget_the_first_spill_teaches_it(start_ollama: "StartOllama") -> None:
    ollama = await start_ollama(RealOllamaOptions(gpu_mib=16384, load_mib_per_s=65536))
    async with running_keepwarm(ollama.url, {"memory": {"budget": "auto"}}) as keepwarm:
        assert (await keepwarm.state())["budget_bytes"] is None
        await ask(keepwarm.url, "llama3.2:1b")
        await ask(keepwarm.url, "gemma3:27b")  # 17 GiB
        state = await keepwarm.state()
        assert state["budget_bytes"] == 16384 << 20
        assert "learnt" in state["budget_source"]
        await pause_is_over(ollama)
        happenings = Happenings(ollama)
        await ask(keepwarm.url, "phi4:14b")
        await ask(keepwarm.url, "llama3.1:8b")
        assert happenings.all() == [("left", "gemma3:27b"), ("loaded", "phi4:14b"), ("loaded", "llama3.1:8b")]
        await assert_nothing_spilled(ollama)


async def test_without_a_budget_an_eviction_by_ollama_teaches_it(start_ollama: "StartOllama") -> None:
    ollama = await start_ollama(FAST)
    async with running_keepwarm(ollama.url, {"memory": {"budget": "auto"}}) as keepwarm:
        happenings = Happenings(ollama)
        await ask(keepwarm.url, "gemma3:27b")
        await ask(keepwarm.url, "phi4:14b")  # 9.1 are not in 80 % of 7: Ollama knows that, the proxy does not
        assert happenings.of("evicted by Ollama") == ["gemma3:27b"]

        async def learnt() -> bool:
            return (await keepwarm.state())["budget_bytes"] is not None

        await until(learnt, 1, "a budget")
        state = await keepwarm.state()
        assert "learnt" in state["budget_source"]
        assert state["budget_bytes"] >= (17408 << 20)  # what was seen to fit
        await pause_is_over(ollama)
        again = Happenings(ollama)
        await ask(keepwarm.url, "gemma3:27b")
        await pause_is_over(ollama)
        await ask(keepwarm.url, "phi4:14b")
        assert again.of("evicted by Ollama") == []
        await assert_nothing_spilled(ollama)
