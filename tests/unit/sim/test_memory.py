"""Which loaded model is asked for memory, and what it answers (OLLAMA.md 16)."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from proxy.sim.memory import Driver, LoadedModels
from proxy.sim.models import AUTOMATIC, ModelSpec
from proxy.sim.resident import Resident

if TYPE_CHECKING:
    from collections.abc import Iterable

GIB = 1 << 30
LOOKS = 8000


def resident(name: str, gib: int = 1, free_gib: int = 24) -> Resident:
    return Resident(
        spec=ModelSpec(name, name, gib * GIB, load_seconds=1.0),
        uid=ord(name[0]),
        options=AUTOMATIC,
        num_ctx=4096,
        parallel=1,
        size_bytes=gib * GIB,
        vram_bytes=gib * GIB,
        free_at_load_bytes=free_gib * GIB,
        on_gpu=True,
        keep_alive_seconds=300,
    )


def loaded_with(residents: Iterable[Resident]) -> LoadedModels:
    loaded = LoadedModels()
    for one in residents:
        loaded.add(one)
    return loaded


def first_asked(loaded: LoadedModels) -> Counter[str]:
    rng = random.Random(5)
    return Counter(loaded.asked(rng)[0].spec.name for _ in range(LOOKS))


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_the_first_of_n_models_is_asked_with_a_chance_of_nine_minus_n_in_eight(count: int) -> None:
    asked = first_asked(loaded_with(resident(name) for name in "abcdefgh"[:count]))
    assert asked["a"] / LOOKS == pytest.approx((9 - count) / 8, abs=0.03)
    for name in "bcdefgh"[: count - 1]:
        assert asked[name] / LOOKS == pytest.approx(1 / 8, abs=0.03)


def test_a_new_model_takes_the_lowest_free_slot() -> None:
    models = {name: resident(name) for name in "abcd"}
    loaded = loaded_with(models[name] for name in "abc")
    loaded.remove(models["a"])
    loaded.add(models["d"])
    assert first_asked(loaded)["d"] / LOOKS == pytest.approx(6 / 8, abs=0.03)


def test_with_nine_models_any_order_is_as_likely_and_stays_so() -> None:
    models = [resident(name) for name in "abcdefghi"]
    loaded = loaded_with(models)
    for one in models[3:]:
        loaded.remove(one)
    asked = first_asked(loaded)
    assert all(asked[name] / LOOKS == pytest.approx(1 / 3, abs=0.03) for name in "abc")


def test_what_is_believed_is_the_smaller_of_the_sum_and_the_stale_word_of_one() -> None:
    nine, five = resident("n", 9, free_gib=24), resident("f", 5, free_gib=15)
    loaded = loaded_with([nine, five])
    rng = random.Random(1)
    believed = {loaded.believed_free_bytes(24 * GIB, 10 * GIB, rng) for _ in range(100)}
    assert believed == {10 * GIB}
    loaded.remove(nine)
    assert loaded.believed_free_bytes(24 * GIB, 19 * GIB, rng) == 10 * GIB  # in truth 19


def test_the_driver_still_counts_the_dead_for_a_while() -> None:
    driver = Driver(24 * GIB, lag_seconds=1.5)
    driver.take(10 * GIB)
    driver.release(100, 10 * GIB)
    assert driver.free_bytes(101.4) == 14 * GIB
    assert driver.free_bytes(101.5) == 24 * GIB
