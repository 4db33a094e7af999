"""The pause between an unload and a load: learnt downwards, and never twice too short for the same reason."""

import pytest

from proxy.domain.effects import Cause, Load, Loaded, Settle
from proxy.domain.model import RunnerOptions
from proxy.domain.settings import ModelRule
from proxy.engine.settling import Settling, fits_anyway
from proxy.engine.state import Operation, Running, Stage
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


def test_a_load_that_has_room_beside_what_was_unloaded_does_not_wait_for_it_and_proves_nothing() -> None:
    script = Transcript({"mine": 8.0, "yours": 8.0}, warm_up=False, max_models=1).warmed("mine")
    assert {swaps(script, model) for _ in range(5) for model in ("yours", "mine")} == {0.0}
    assert script.engine.state.settling.seconds == 0.5


def test_it_waits_where_the_room_is_less_than_ollamas_rule_asks_for() -> None:
    script = Transcript({"mine": 8.0, "yours": 13.0}, warm_up=False, max_models=1).warmed("mine")
    assert swaps(script, "yours") == 0.5  # 13 GiB are more than four fifths of 24 - 8


def test_all_that_was_unloaded_within_seconds_counts_as_if_it_were_still_there() -> None:
    script = Transcript({"one": 6.0, "two": 6.0, "big": 12.0}, warm_up=False, max_models=1).warmed("one")
    hurried = script.asks("two")
    script.unloads("one")
    script.loads("two")
    script.ends(hurried)
    script.asks("big")
    script.unloads("two")
    assert script.one(Settle).seconds == 0.5  # beside one of them alone there would be room
    script = Transcript({"one": 6.0, "two": 6.0, "big": 12.0}, warm_up=False, max_models=1).warmed("one")
    assert [swaps(script, model) for model in ("two", "big")] == [0.0, 0.0]  # a minute apart


def test_a_model_of_unknown_size_waits() -> None:
    state = Transcript({"mine": 1.0}).warmed("mine").engine.state
    loads = Running("new", RunnerOptions())
    operation = Operation(Stage.UNLOADING, Cause.COLD, "", model="new:latest", loads=loads)
    assert not fits_anyway(state, operation)


def test_a_model_that_spilled_although_it_had_room_waits_before_it_is_loaded_again() -> None:
    script = Transcript({"mine": 8.0, "yours": 8.0}, warm_up=False, max_models=1).warmed("mine")
    script.asks("yours")
    script.unloads("mine")
    script.loads("yours", vram_gib=4)
    script.unloads("yours")
    assert script.one(Settle).seconds == 2.0


def test_once_a_driver_has_lagged_what_is_loaded_early_is_taken_to_have_seen_less() -> None:
    script = Transcript({"mine": 8.0, "yours": 8.0}, warm_up=False, max_models=1).warmed("mine")
    state = script.engine.state
    swaps(script, "yours")
    assert state.residents["yours:latest"].others_bytes == 0
    state.settling = state.settling.too_short()
    swaps(script, "mine")
    assert state.residents["mine:latest"].others_bytes == 8 * GIB


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
