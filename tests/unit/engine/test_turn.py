"""A model that is at work keeps its turn; one that nobody is at work with leaves at once."""

import pytest

from proxy.domain.effects import Load, Unload
from tests.unit.engine.transcript import Transcript

SIZES = {"mine": 14.0, "yours": 14.0}
SWAP_SECONDS = 5.0


def swapped_in() -> tuple[Transcript, int]:
    """`mine` has just been loaded, which took five seconds, and serves its first request."""
    script = Transcript(SIZES)
    script.ps()
    first = script.asks("mine")
    script.loads("mine", seconds=SWAP_SECONDS)
    return script, first


def leaves(script: Transcript) -> bool:
    return any(unload.model == "mine:latest" for unload in script.of(Unload))


def at_work(script: Transcript, request: int) -> None:
    """Somebody asks again a second after each answer."""
    for _ in range(4):
        script.after(0.5).ends(request)
        request = script.after(1.0).asks("mine")
    script.after(0.5).ends(request)


def test_a_model_whose_client_is_at_work_does_not_leave_between_two_requests() -> None:
    script, first = swapped_in()
    at_work(script, first)
    script.after(0.5).asks("yours")
    assert not leaves(script)
    again = script.after(0.5).asks("mine")
    assert again in script.forwarded()


def test_it_leaves_when_nobody_came_back_for_four_seconds() -> None:
    script, first = swapped_in()
    at_work(script, first)
    script.after(0.5).asks("yours")
    script.after(3.4).ticks()
    assert not leaves(script)
    script.after(0.2).ticks()
    assert leaves(script)


def test_its_turn_is_over_after_four_times_what_its_swap_took() -> None:
    script, first = swapped_in()
    at_work(script, first)
    script.after(0.1).asks("yours")
    loaded_at = script.engine.state.residents["mine:latest"].loaded_at
    while script.at < loaded_at + 4 * SWAP_SECONDS - 2:
        script.ends(script.after(0.5).asks("mine"))
    assert not leaves(script)
    script.after(2.1).ticks()
    assert leaves(script)


def test_a_turn_lasts_no_longer_than_max_wait() -> None:
    script = Transcript(SIZES, max_wait_seconds=3.0)
    script.ps()
    first = script.asks("mine")
    script.loads("mine", seconds=SWAP_SECONDS)
    script.asks("yours")
    script.after(2.9).ends(first)
    assert not leaves(script)
    script.after(0.2).ticks()
    assert leaves(script)


def test_a_model_whose_clients_rarely_come_back_at_once_leaves_at_once() -> None:
    script, request = swapped_in()
    for _ in range(10):
        script.after(0.5).ends(request)
        request = script.after(60.0).asks("mine")
    script.after(0.5).ends(request)
    script.asks("yours")
    assert leaves(script)


@pytest.mark.parametrize("waits", [0.0, 2.0])
def test_who_waits_for_a_turn_to_end_is_served_by_one_load(waits: float) -> None:
    script, first = swapped_in()
    script.after(0.5).ends(first)
    script.asks("yours")
    script.after(waits).asks("yours")
    script.after(4.1).ticks()
    script.unloads("mine")
    script.settles()
    script.loads("yours")
    assert len([load for load in script.log if isinstance(load, Load) and load.model == "yours:latest"]) == 1
    assert not script.engine.state.held


def swaps_in(script: Transcript, model: str, request: int) -> None:
    """Whoever has had his turn leaves, and the model is loaded for this request."""
    while request not in script.forwarded():
        if script.todo:
            other = "yours" if model == "mine" else "mine"
            script.unloads(other)
            script.settles()
            script.loads(model, seconds=SWAP_SECONDS)
        else:
            script.after(0.5).ticks()


def test_nobody_waits_for_a_model_whose_client_is_the_very_one_who_waits() -> None:
    script, first = swapped_in()
    for _ in range(6):
        at_work(script, first)
        yours = script.after(1.0).asks("yours")
        swaps_in(script, "yours", yours)
        script.after(1.0).ends(yours)
        first = script.after(1.0).asks("mine")
        swaps_in(script, "mine", first)
    at_work(script, first)
    script.after(0.5).asks("yours")
    assert leaves(script)


def test_it_stays_however_often_another_client_who_waits_beside_its_own_has_made_it_leave() -> None:
    script, first = swapped_in()
    for _ in range(6):
        at_work(script, first)
        yours = script.after(0.5).asks("yours")
        first = script.after(0.5).asks("mine")
        script.ends(first)
        script.after(60.0).ticks()
        swaps_in(script, "yours", yours)
        script.after(1.0).ends(yours)
        first = script.after(5.0).asks("mine")
        swaps_in(script, "mine", first)
    at_work(script, first)
    script.log.clear()
    script.after(0.5).asks("yours")
    assert not leaves(script)
