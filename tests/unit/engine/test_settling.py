"""The pause between an unload and a load: learnt downwards, and never twice too short for the same reason."""

import pytest

from proxy.domain.effects import Cause, Load, Loaded, Settle
from proxy.domain.settings import ModelRule
from proxy.engine.settling import Settling
from tests.unit.engine.transcript import GIB, Transcript

SIZES = {"mine": 14.0, "yours": 14.0}


def swaps(script: Transcript, model: str) -> float:
    """A cold request makes the other model leave and is served; returns the pause before its load."""
    request, paused = script.after(60.0).asks(model), 0.0
    while request not in script.forwarded():
        if script.todo:
            if isinstance(script.todo[0], Settle):
                paused = script.todo[0].seconds
            script.carries_out()
        else:
            script.after(1.0).ticks()
    script.after(0.5).ends(request)
    return paused


def test_loads_that_had_what_had_just_been_unloaded_make_the_pause_shorter_until_there_is_none() -> None:
    script = Transcript(SIZES, warm_up=False).warmed("mine")
    pauses = [swaps(script, model) for _ in range(8) for model in ("yours", "mine")]
    assert pauses == pytest.approx([0.5] * 3 + [0.25] * 3 + [0.125] * 3 + [0.0625] * 3 + [0.0] * 4)


def test_a_load_that_had_room_beside_what_was_unloaded_proves_nothing() -> None:
    script = Transcript({"mine": 8.0, "yours": 8.0}, warm_up=False, max_models=1).warmed("mine")
    assert {swaps(script, model) for _ in range(5) for model in ("yours", "mine")} == {0.5}


def test_a_load_that_began_later_than_it_had_to_proves_nothing_about_the_pause() -> None:
    script = Transcript(SIZES, settle_seconds=0.25, warm_up=False).warmed("mine")
    for model in ("yours", "mine"):
        script.engine.state.learnt(f"{model}:latest").holds_up_seconds = 5.0  # Ollama is to have looked before
    for _ in range(2):
        for model in ("yours", "mine"):
            assert swaps(script, model) == pytest.approx(0.45)
    assert script.engine.state.settling.seconds == 0.25


def test_where_the_driver_tells_what_is_free_nothing_is_learnt() -> None:
    script = Transcript(SIZES, warm_up=False)
    script.engine.state.budget = script.engine.state.budget.with_driver(24 * GIB, 0, 1)
    script.warmed("mine")
    assert {swaps(script, model) for _ in range(5) for model in ("yours", "mine")} == {0.5}


def test_after_a_spill_the_pause_is_the_first_one_again_and_stays() -> None:
    script = Transcript(SIZES, warm_up=False).warmed("mine")
    for model in ("yours", "mine", "yours"):
        swaps(script, model)
    assert script.engine.state.settling.seconds == 0.25
    request = script.after(60.0).asks("mine")
    script.unloads("yours")
    script.settles(0.25)
    script.loads("mine", vram_gib=8)  # the driver still counted the other
    script.unloads("mine")
    script.settles()
    assert script.one(Load).model == "mine:latest"
    script.loads("mine")
    script.ends(request)
    assert [load.cause for load in script.log if isinstance(load, Loaded)][-2:] == [Cause.COLD, Cause.SPILL]
    pauses = {swaps(script, model) for _ in range(5) for model in ("yours", "mine")}
    assert pauses == {0.5}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Settling(0.5, 0.5), 2.0),
        (Settling(0.0, 0.0), 1.0),
        (Settling(0.5, 2.0), 5.0),
        (Settling(0.5, 0.125, proofs=2), 0.5),
        (Settling(8.0, 4.0), 8.0),
        (Settling(8.0, 8.0), 8.0),
    ],
)
def test_too_short_a_pause_goes_back_to_the_first_one_and_from_there_grows_fourfold(
    before: Settling, after: float
) -> None:
    assert before.too_short() == Settling(before.first_seconds, after, tries=False)


def alternates(script: Transcript, *, after: float) -> list[float]:
    """Two models take turns, each asked for so long after the answer of the other; returns the pauses before `mine`."""
    pauses = []
    for _ in range(12):
        for model in ("yours", "mine"):
            script.at += after - 60.0
            pauses.append(swaps(script, model))
    return pauses[1::2]


def test_a_load_waits_for_ollamas_look_at_memory_where_the_next_unload_usually_follows_within_seconds() -> None:
    script = Transcript(SIZES, settle_seconds=0.0, warm_up=False).warmed("mine")
    pauses = alternates(script, after=0.2)
    assert pauses[0] == 0.0
    assert pauses[-1] == pytest.approx(0.45)


def test_it_does_not_where_the_next_unload_comes_late() -> None:
    script = Transcript(SIZES, settle_seconds=0.0, warm_up=False).warmed("mine")
    assert set(alternates(script, after=30.0)) == {0.0}


def test_it_does_not_where_others_stay_loaded() -> None:
    stays = [("third", ModelRule(pin=True))]
    script = Transcript({**SIZES, "third": 1.0}, stays, settle_seconds=0.0, warm_up=False).warmed("mine", "third")
    assert set(alternates(script, after=0.2)) == {0.0}
