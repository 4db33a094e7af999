"""Models have to leave together of which some are busy."""

from __future__ import annotations

from proxy.domain import effects as fx
from proxy.domain.effects import Cause
from tests.unit.engine.transcript import GIB, Transcript

SIZES = {"small": 4.0, "middle": 9.0, "huge": 40.0}


def test_of_two_that_have_to_leave_the_idle_one_leaves_while_the_busy_one_finishes() -> None:
    script = Transcript(SIZES).warmed("small", "middle")
    busy = script.asks("small")
    cold = script.asks("huge")
    unload = script.one(fx.Unload)
    assert (unload.model, unload.cause) == ("middle:latest", Cause.EVICTION)
    held = script.asks("small")
    script.after(0.1).unloads("middle")
    assert not script.of(fx.Unload)
    assert not script.of(fx.Load)
    assert {cold, held} == set(script.engine.state.held)  # nobody new for the one that is to leave
    script.after(3).ends(busy)
    assert script.one(fx.Unload).model == "small:latest"
    script.unloads("small")
    script.settles()
    assert script.one(fx.Load).model == "huge:latest"


def test_an_idle_model_with_other_options_is_unloaded_while_a_busy_one_makes_room_for_it() -> None:
    script = Transcript(SIZES).warmed("small", "middle")
    script.engine.state.learnt("middle:latest").bytes_by_num_ctx[262144] = 22 * GIB  # too large beside the small one
    script.asks("small")
    script.asks("middle", options={"num_ctx": 262144})
    unload = script.one(fx.Unload)
    assert (unload.model, unload.cause) == ("middle:latest", Cause.RELOAD)
    held = script.asks("small")
    assert held in script.engine.state.held


def test_the_room_made_so_far_is_not_given_to_who_came_later_unless_there_is_more() -> None:
    script = Transcript({**SIZES, "tiny": 1.0, "other": 9.0}).warmed("small", "middle")
    busy = script.asks("small")
    script.asks("huge")
    script.unloads("middle")
    later = script.asks("other")
    assert not script.of(fx.Load)  # beside what left for the huge one there is no room for it
    script.asks("tiny")
    script.settles()
    assert script.one(fx.Load).model == "tiny:latest"
    script.loads("tiny")
    script.ends(busy)
    assert later in script.engine.state.held
    assert script.one(fx.Unload).model == "small:latest"


def test_after_max_wait_in_vain_what_left_comes_back_for_who_wants_it_and_stays_until_the_busy_one_is_done() -> None:
    script = Transcript(SIZES).warmed("small", "middle")
    endless = script.asks("small")
    cold = script.asks("huge")
    script.unloads("middle")
    patient = script.asks("middle")
    assert not script.of(fx.Load)
    script.after(60.01).ticks()
    assert script.one(fx.Load).model == "middle:latest"
    script.loads("middle")
    assert script.one(fx.Forward).request_id == patient
    script.after(1).ends(patient)
    for _ in range(10):
        script.after(5).ticks()
        assert not script.of(fx.Unload)  # or its clients would wait for a load each time
    assert cold in script.engine.state.held
    script.ends(endless)
    script.after(5).ticks()
    assert {e.model for e in script.log if isinstance(e, fx.Unload)} == {"middle:latest", "small:latest"}


def test_both_stay_for_whom_nobody_else_has_to_leave() -> None:
    script = Transcript(SIZES).warmed("small", "middle")
    script.asks("small")
    script.asks("middle")
    assert not script.of(fx.Unload)
    assert not script.engine.state.draining
