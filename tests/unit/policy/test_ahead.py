from dataclasses import replace

import pytest

from proxy.policy import Wanted
from proxy.policy.ahead import room_ahead
from tests.unit.policy.values import GIB, memory, resident


def wanted(**hazards):
    return [Wanted(model, 8 * GIB, hazard) for model, hazard in hazards.items()]


COLD = resident("cold", 10, loss=0.01, load=5, idle=7200)
HOT = resident("hot", 10, loss=4, load=5, idle=10)


def test_what_the_next_miss_would_wait_for_is_unloaded_ahead():
    ahead = room_ahead(memory(COLD, HOT), wanted(new=0.5, hot=0.5))
    assert ahead is not None
    assert ahead.victim == "cold"
    # the miss, of chance 0.5, would lose the cold model and settle; leaving early risks eight tenths of its loss
    assert ahead.gain_seconds == pytest.approx(0.5 * (0.01 + 0.5) - 0.8 * 0.01)
    assert ahead.reason == (
        "cold leaves ahead of need: saves 247ms at the next miss (most likely new, 50%), frees 10GiB,"
        " expected loss 10ms, idle 2h"
    )


def test_nothing_is_unloaded_when_every_likely_model_fits():
    assert room_ahead(memory(resident("a", 2), resident("b", 2)), wanted(new=1.0)) is None


def test_nothing_is_unloaded_that_is_likely_to_be_asked_for_itself():
    assert room_ahead(memory(COLD, HOT), wanted(new=0.1, cold=0.5, hot=0.4)) is None


def test_the_usual_error_of_the_forecast_counts_as_a_chance_of_being_asked_for_next():
    usual = wanted(new=0.5, hot=0.4, cold=0.01)
    sure = room_ahead(memory(COLD, HOT), usual)
    assert sure is not None
    assert sure.return_chance == pytest.approx(0.01 / 0.51)  # of being the next to be loaded: hot ones never are
    doubtful = room_ahead(replace(memory(COLD, HOT), return_bias=0.02), usual)
    assert doubtful is not None
    share = 0.02 * 0.51 / 0.91
    assert sure.gain_seconds - doubtful.gain_seconds == pytest.approx(0.8 * share * (5 - 0.01))
    assert room_ahead(replace(memory(COLD, HOT), return_bias=0.2), usual) is None


def test_a_gain_below_a_twentieth_of_a_second_is_not_worth_an_unload():
    assert room_ahead(memory(COLD, HOT), wanted(new=0.1, hot=0.9)) is None


def test_models_that_are_hardly_ever_asked_for_do_not_count():
    many = {f"rare{i}": 0.0039 for i in range(200)}
    assert room_ahead(memory(COLD, HOT), wanted(hot=0.22, **many)) is None


def test_pinned_and_busy_models_stay():
    pinned = resident("cold", 10, loss=0.01, pinned=True)
    busy = resident("hot", 10, loss=0.01, remaining=5)
    assert room_ahead(memory(pinned, busy), wanted(new=1.0)) is None


def test_a_lone_resident_stays():
    assert room_ahead(memory(resident("a", 20, loss=0)), wanted(new=1.0)) is None


def test_with_more_than_nine_residents_no_room_is_made_ahead():
    residents = [resident(f"m{i}", 2, loss=0) for i in range(10)]
    assert room_ahead(memory(*residents, max_models=10), wanted(new=1.0)) is None


def test_nobody_known_nobody_unloaded():
    assert room_ahead(memory(COLD, HOT), []) is None
    assert room_ahead(memory(COLD, HOT), wanted(new=0.0)) is None


def test_a_model_that_no_unloading_could_make_room_for_is_no_reason_to_unload():
    pin = resident("pin", 20, pinned=True)
    assert room_ahead(memory(pin, resident("a", 2, loss=0)), wanted(new=1.0)) is None
