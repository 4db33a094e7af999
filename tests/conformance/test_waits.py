"""The waits after unloads, and drivers that are slow to give memory back (OLLAMA.md 17, 18)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.conformance.models import ENDLESS_A, ENDLESS_B, GIB_4_7, GIB_9_0, GIB_9_1, GIB_17, SMALL
from tests.conformance.subject import MIB, Setup

if TYPE_CHECKING:
    from tests.conformance.conftest import StartOllama
    from tests.conformance.subject import Model, Ollama

A, B, C, D = (model.name for model in SMALL[:4])
LOAD_SECONDS = 0.27  # of anything small at the default speed of the tests
SOLE_SECONDS = 0.4
WAIT_SECONDS = 5.0


async def load_two(ollama: Ollama, scaffold: str, victim: str, other: str) -> None:
    """Loads `victim` and then `other` in such a way that memory seems the same whoever is asked when `victim` leaves.

    `other` takes the place of a model of its size that was there when `victim` was loaded; else there is a chance of 1
    in 8 that Ollama asks the victim itself first, and sees a difference at once.
    """
    await ollama.load(scaffold)
    await ollama.load(victim, keep_alive=100)
    await ollama.unload(scaffold)
    await ollama.gone(scaffold)
    await ollama.load(other, keep_alive=200)
    await ollama.sleep(WAIT_SECONDS + 0.3)  # the wait after that unload must be over


async def test_an_eviction_by_ollama_costs_its_client_five_seconds(start: StartOllama) -> None:
    ollama = await start(Setup(models=SMALL, max_loaded_models=2))
    await load_two(ollama, scaffold=A, victim=B, other=C)
    assert await ollama.load(D) == pytest.approx(WAIT_SECONDS + LOAD_SECONDS, abs=0.9)
    assert set(await ollama.ps()) == {C, D}


async def test_a_reload_beside_others_costs_five_seconds(start: StartOllama) -> None:
    ollama = await start(Setup(models=SMALL))
    await load_two(ollama, scaffold=A, victim=B, other=C)
    seconds = await ollama.load(B, options={"num_ctx": 1024})
    assert seconds == pytest.approx(WAIT_SECONDS + LOAD_SECONDS, abs=0.9)


async def test_the_second_of_two_victims_leaves_five_seconds_later(start: StartOllama) -> None:
    ollama = await start(Setup(models=SMALL))
    await load_two(ollama, scaffold=A, victim=B, other=C)
    await ollama.unload(B)
    await ollama.unload(C)
    assert await ollama.gone(B) < 0.5
    assert await ollama.gone(C) == pytest.approx(WAIT_SECONDS, abs=0.9)


async def test_ends_of_requests_are_not_counted_while_it_waits_after_an_unload(start: StartOllama) -> None:
    """The model that has become idle counts as busy: another leaves, though its keep_alive is longer."""
    ollama = await start(Setup(models=(ENDLESS_A, GIB_4_7, *SMALL)))
    await ollama.load(GIB_4_7.name)  # of the same size as the endless one, which takes its place
    await ollama.load(A, keep_alive=-1)
    await ollama.load(B)
    await ollama.unload(GIB_4_7.name)
    await ollama.gone(GIB_4_7.name)
    async with ollama.busy(ENDLESS_A.name, keep_alive=10):
        await ollama.sleep(WAIT_SECONDS + 0.3)
        await ollama.unload(B)
        await ollama.gone(B)
    await ollama.load(C, keep_alive=-1)
    await ollama.load(D)
    assert ENDLESS_A.name in await ollama.ps()


async def test_an_eviction_of_the_only_model_costs_less_than_a_second(start: StartOllama) -> None:
    ollama = await start(Setup(models=SMALL, max_loaded_models=1))
    await ollama.load(A)
    assert await ollama.load(B) == pytest.approx(SOLE_SECONDS + LOAD_SECONDS, abs=0.5)


async def test_nobody_waits_for_a_load_after_an_unload_that_we_asked_for(start: StartOllama) -> None:
    ollama = await start(Setup(models=SMALL, max_loaded_models=2))
    await ollama.load(A)
    await ollama.load(B)
    await ollama.unload(B)
    assert await ollama.gone(B) < 0.5
    assert await ollama.load(C) == pytest.approx(LOAD_SECONDS, abs=0.5)


async def test_with_all_busy_the_one_of_shortest_keep_alive_is_waited_for(start: StartOllama) -> None:
    ollama = await start(Setup(models=(ENDLESS_A, ENDLESS_B, *SMALL), max_loaded_models=2))
    async with ollama.busy(ENDLESS_A.name, keep_alive=500):
        async with ollama.busy(ENDLESS_B.name, keep_alive=400):
            waiting = asyncio.ensure_future(ollama.post("/api/generate", model=A))
            await ollama.sleep(1)
            assert not waiting.done()
        assert (await waiting).status == 200
        assert set(await ollama.ps()) == {ENDLESS_A.name, A}


async def test_a_load_before_the_driver_sees_the_memory_free_spills(start: StartOllama) -> None:
    ollama = await start(Setup(models=(GIB_17, GIB_9_0), release_ms=1500))
    await swap(ollama, GIB_17, GIB_9_0, pause_seconds=0)
    line = (await ollama.ps())[GIB_9_0.name]
    assert line["size_vram"] == (24576 - GIB_17.mib) * MIB < line["size"]


async def test_a_load_after_the_driver_has_seen_the_memory_free_does_not_spill(start: StartOllama) -> None:
    ollama = await start(Setup(models=(GIB_17, GIB_9_0), release_ms=1500))
    await swap(ollama, GIB_17, GIB_9_0, pause_seconds=2)
    line = (await ollama.ps())[GIB_9_0.name]
    assert line["size_vram"] == line["size"] == GIB_9_0.mib * MIB


async def test_a_load_too_early_spoils_the_belief_for_the_whole_residency(start: StartOllama) -> None:
    """With 24 GiB and only 4.7 loaded, a 9.1 is refused beside it: at its load the dead 17 GiB still counted."""
    ollama = await start(Setup(models=(GIB_17, GIB_4_7, GIB_9_1), release_ms=1500))
    await swap(ollama, GIB_17, GIB_4_7, pause_seconds=0)
    await ollama.sleep(2)
    await ollama.load(GIB_9_1.name)
    assert list(await ollama.ps()) == [GIB_9_1.name]


async def swap(ollama: Ollama, leaver: Model, newcomer: Model, pause_seconds: float) -> None:
    """Loads one model, unloads it, and loads the other so long after it has gone."""
    await ollama.load(leaver.name)
    await ollama.unload(leaver.name)
    await ollama.gone(leaver.name)
    await ollama.sleep(pause_seconds)
    await ollama.load(newcomer.name)
