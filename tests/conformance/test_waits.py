"""The waits after unloads, and drivers that are slow to give memory back (OLLAMA.md 17, 18)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.conformance.models import ENDLESS_A, ENDLESS_B, GIB_4_7, GIB_9_0, GIB_9_1, GIB_17, SMALL
from tests.conformance.subject import MIB, Setup

if TYPE_CHECKING:
    from tests.conformance.conftest import StartOllama

A, B, C, D = (model.name for model in SMALL[:4])
LOAD_SECONDS = 0.27  # of anything small at the default speed of the tests
SOLE_SECONDS = 0.4
WAIT_SECONDS = 5.0


async def test_an_eviction_by_ollama_costs_its_client_five_seconds(start: StartOllama) -> None:
    ollama = await start(Setup(models=SMALL, max_loaded_models=2))
    await ollama.load(A, keep_alive=200)  # the first loaded leaves: whoever is asked, nothing seems to change
    await ollama.load(B, keep_alive=100)
    assert await ollama.load(C) == pytest.approx(WAIT_SECONDS + LOAD_SECONDS, abs=0.7)


async def test_an_eviction_of_the_only_model_costs_less_than_a_second(start: StartOllama) -> None:
    ollama = await start(Setup(models=SMALL, max_loaded_models=1))
    await ollama.load(A)
    assert await ollama.load(B) == pytest.approx(SOLE_SECONDS + LOAD_SECONDS, abs=0.4)


async def test_nobody_waits_for_a_load_after_an_unload_that_we_asked_for(start: StartOllama) -> None:
    ollama = await start(Setup(models=SMALL, max_loaded_models=2))
    await ollama.load(A)
    await ollama.load(B)
    await ollama.unload(B)
    assert await ollama.gone(B) < 0.3
    assert await ollama.load(C) == pytest.approx(LOAD_SECONDS, abs=0.35)


async def test_the_second_of_two_victims_leaves_five_seconds_later(start: StartOllama) -> None:
    ollama = await start(Setup(models=SMALL))
    for model in (A, B, C):
        await ollama.load(model)
    await ollama.unload(C)
    await ollama.unload(B)
    assert await ollama.gone(C) < 0.3
    assert await ollama.gone(B) == pytest.approx(WAIT_SECONDS, abs=0.7)


async def test_ends_of_requests_are_not_counted_while_it_waits_after_an_unload(start: StartOllama) -> None:
    """The model that has become idle counts as busy: the idle one leaves, though its keep_alive is longer."""
    ollama = await start(Setup(models=(ENDLESS_A, *SMALL)))
    await ollama.load(A, keep_alive=-1)
    async with ollama.busy(ENDLESS_A.name, keep_alive=10):
        await ollama.load(B)
        await ollama.unload(B)
        await ollama.gone(B)
    await ollama.load(C, keep_alive=-1)
    assert await ollama.load(D) > WAIT_SECONDS - 1
    assert ENDLESS_A.name in await ollama.ps()


async def test_a_reload_beside_others_costs_five_seconds(start: StartOllama) -> None:
    ollama = await start(Setup(models=SMALL))
    await ollama.load(A)
    await ollama.load(B)
    seconds = await ollama.load(B, options={"num_ctx": 1024})
    assert seconds == pytest.approx(WAIT_SECONDS + LOAD_SECONDS, abs=0.7)


async def test_a_load_before_the_driver_sees_the_memory_free_spills(start: StartOllama) -> None:
    ollama = await start(Setup(models=(GIB_17, GIB_9_0), release_ms=1500))
    await ollama.load(GIB_17.name)
    await ollama.unload(GIB_17.name)
    await ollama.gone(GIB_17.name)
    await ollama.load(GIB_9_0.name)
    line = (await ollama.ps())[GIB_9_0.name]
    assert (line["size"], line["size_vram"]) == (GIB_9_0.mib * MIB, (24576 - GIB_17.mib) * MIB)


async def test_a_load_after_the_driver_has_seen_the_memory_free_does_not_spill(start: StartOllama) -> None:
    ollama = await start(Setup(models=(GIB_17, GIB_9_0), release_ms=1500))
    await ollama.load(GIB_17.name)
    await ollama.unload(GIB_17.name)
    await ollama.gone(GIB_17.name)
    await ollama.sleep(2)
    await ollama.load(GIB_9_0.name)
    line = (await ollama.ps())[GIB_9_0.name]
    assert line["size_vram"] == line["size"] == GIB_9_0.mib * MIB


async def test_a_load_too_early_spoils_the_belief_for_the_whole_residency(start: StartOllama) -> None:
    """With 24 GiB and only 4.7 loaded, a 9.1 is refused beside it: at its load the dead 17 GiB still counted."""
    ollama = await start(Setup(models=(GIB_17, GIB_4_7, GIB_9_1), release_ms=1500))
    await ollama.load(GIB_17.name)
    await ollama.unload(GIB_17.name)
    await ollama.gone(GIB_17.name)
    await ollama.load(GIB_4_7.name)
    await ollama.sleep(2)
    await ollama.load(GIB_9_1.name)
    assert list(await ollama.ps()) == [GIB_9_1.name]


async def test_both_busy_the_one_of_shorter_keep_alive_is_waited_for(start: StartOllama) -> None:
    ollama = await start(Setup(models=(ENDLESS_A, ENDLESS_B, *SMALL), max_loaded_models=2))
    async with ollama.busy(ENDLESS_A.name, keep_alive=500):
        async with ollama.busy(ENDLESS_B.name, keep_alive=400):
            waiting = asyncio.ensure_future(ollama.post("/api/generate", model=A))
            await ollama.sleep(1)
            assert not waiting.done()
        assert (await waiting).seconds == pytest.approx(1 + WAIT_SECONDS + LOAD_SECONDS, abs=0.8)
        assert set(await ollama.ps()) == {ENDLESS_A.name, A}
