"""Whom Ollama evicts, and when it has to (OLLAMA.md 1, 8, 10, 16, 20)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.conformance.models import ENDLESS_A, ENDLESS_B, GIB_4_7, GIB_9_0, GIB_9_1, GIB_17, SMALL
from tests.conformance.subject import MIB, Model, Setup

if TYPE_CHECKING:
    from tests.conformance.conftest import StartOllama
    from tests.conformance.subject import Ollama

A, B, C, D = (model.name for model in SMALL[:4])


async def weights_of(ollama: Ollama, model: str) -> str:
    """The digest in the path of a model's weights."""
    show = await ollama.post("/api/show", model=model)
    [line] = [line for line in show.body["modelfile"].splitlines() if line.startswith("FROM /")]
    return line.rpartition("sha256-")[2]


async def test_the_shortest_keep_alive_leaves_first_however_recently_it_was_used(start: StartOllama) -> None:
    ollama = await start(Setup(models=SMALL, max_loaded_models=3))
    for model, keep_alive in ((A, 300), (B, 200), (C, -1), (B, 200)):
        await ollama.load(model, keep_alive=keep_alive)
    await ollama.load(D)
    assert set(await ollama.ps()) == {A, C, D}


async def test_among_equals_the_smallest_digest_leaves_first(start: StartOllama) -> None:
    ollama = await start(Setup(models=SMALL, max_loaded_models=3))
    digests = {}
    for model in (A, B, C):
        await ollama.load(model, keep_alive=300)
        digests[await weights_of(ollama, model)] = model
    await ollama.load(D, keep_alive=300)
    assert set(await ollama.ps()) == {A, B, C, D} - {digests[min(digests)]}


async def test_an_idle_model_leaves_before_a_busy_one_of_shorter_keep_alive(start: StartOllama) -> None:
    ollama = await start(Setup(models=(ENDLESS_A, *SMALL), max_loaded_models=2))
    await ollama.load(A, keep_alive=-1)
    async with ollama.busy(ENDLESS_A.name, keep_alive=10):
        await ollama.load(B)
        assert set(await ollama.ps()) == {ENDLESS_A.name, B}


async def test_three_models_are_loaded_at_most_by_default(start: StartOllama) -> None:
    ollama = await start(Setup(models=SMALL))
    for model in (A, B, C, D):
        await ollama.load(model)
    assert len(await ollama.ps()) == 3


@pytest.mark.parametrize(("mib", "loaded"), [(12200, 2), (12400, 1)])  # 0.8 * (24576 - 9216) = 12288
async def test_a_model_is_let_in_beside_others_up_to_four_fifths_of_what_is_free(
    start: StartOllama, mib: int, loaded: int
) -> None:
    newcomer = Model(name="newcomer:latest", mib=mib, seed=31)
    ollama = await start(Setup(models=(GIB_9_0, newcomer)))
    await ollama.load(GIB_9_0.name)
    await ollama.load(newcomer.name)
    assert len(await ollama.ps()) == loaded


async def test_a_model_alone_is_always_let_in_and_spills(start: StartOllama) -> None:
    ollama = await start(Setup(models=(GIB_17, GIB_9_0), gpu_mib=16384))
    await ollama.load(GIB_9_0.name)
    await ollama.load(GIB_17.name)
    [line] = (await ollama.ps()).values()
    assert (line["name"], line["size_vram"]) == (GIB_17.name, 16384 * MIB)
    assert line["size"] == pytest.approx(GIB_17.mib * MIB, abs=64 * MIB)  # the real one adds its buffers on the CPU


@pytest.mark.parametrize(
    ("leaver", "left"), [(GIB_9_0, {GIB_9_1.name}), (GIB_4_7, {GIB_9_0.name, GIB_9_1.name})], ids=["first", "second"]
)
async def test_what_is_believed_to_be_free_is_stale(start: StartOllama, leaver: Model, left: set[str]) -> None:
    """In truth 19 GiB are free in the first case, and 15 in the second."""
    ollama = await start(Setup(models=(GIB_4_7, GIB_9_0, GIB_9_1)))
    await ollama.load(GIB_9_0.name)
    await ollama.load(GIB_4_7.name)
    await ollama.unload(leaver.name)
    await ollama.gone(leaver.name)
    await ollama.load(GIB_9_1.name)
    assert set(await ollama.ps()) == left


async def test_two_names_of_the_same_weights_are_one_loaded_model(start: StartOllama) -> None:
    twin = Model(name="twin:latest", mib=SMALL[0].mib, seed=SMALL[0].seed)
    ollama = await start(Setup(models=(*SMALL, twin)))
    await ollama.load(A, keep_alive=100)
    await ollama.load(twin.name, keep_alive=900)
    assert list(await ollama.ps()) == [A]
    assert await ollama.left(A) > 800


async def test_a_busy_victim_that_is_asked_for_with_keep_alive_holds_up_the_load_that_waits_for_it(
    start: StartOllama,
) -> None:
    """ollama#17408: the victim lives on for the keep_alive that revived it."""
    ollama = await start(Setup(models=(ENDLESS_A, ENDLESS_B), max_loaded_models=1))
    async with ollama.busy(ENDLESS_A.name, keep_alive=300):
        waiting = asyncio.ensure_future(ollama.post("/api/generate", model=ENDLESS_B.name))
        await ollama.sleep(1)
        await ollama.load(ENDLESS_A.name, keep_alive=4)
    await ollama.sleep(3)
    assert set(await ollama.ps()) == {ENDLESS_A.name}
    answer = await asyncio.wait_for(waiting, 10)
    assert (answer.status, answer.seconds) == (200, pytest.approx(1 + 4 + 0.4 + 0.35, abs=1))
