from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.rhythm import KEPT_GAPS, chance_within, foretell, next_end


def gaps_of(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


def test_a_regular_caller_is_foretold_when_it_is_due_and_not_before() -> None:
    gaps = [300.0] * 24
    assert chance_within(gaps, 200.0, 40.0, 0.1) < 0.01
    assert chance_within(gaps, 280.0, 40.0, 0.1) > 0.9


def test_without_gaps_that_were_longer_the_wider_estimate_holds() -> None:
    assert chance_within([300.0] * 24, 301.0, 40.0, 0.125) == pytest.approx(0.125)
    assert chance_within([], 10.0, 40.0, 0.5) == pytest.approx(0.5)


def test_a_few_gaps_count_less_than_many() -> None:
    assert 0.3 < chance_within([300.0], 290.0, 40.0, 0.0) < 0.5 < chance_within([300.0] * 4, 290.0, 40.0, 0.0)


def test_the_next_end_is_that_of_the_shortest_gap_still_to_come() -> None:
    assert next_end([10.0, 300.0, 3600.0], 10.0) == 300.0
    assert next_end([10.0], 10.0) == math.inf


def test_a_caller_by_the_clock_is_foretold_by_its_schedule_more_closely_than_by_its_gaps() -> None:
    dice = random.Random(1)
    times = [number * 300.0 + dice.uniform(0.0, 60.0) for number in range(KEPT_GAPS + 1)]
    foretold = foretell(gaps_of(times))
    assert foretold.steady
    due = (KEPT_GAPS + 1) * 300.0 - times[-1]
    assert due - 15.0 < min(foretold.gaps) < max(foretold.gaps) < due + 75.0


def test_a_late_request_does_not_put_off_the_next_one() -> None:
    dice = random.Random(3)
    times = [number * 300.0 + dice.uniform(-20.0, 20.0) for number in range(KEPT_GAPS)]
    foretold = foretell(gaps_of([*times, KEPT_GAPS * 300.0 + 25.0]))
    assert foretold.steady
    assert sorted(foretold.gaps)[len(foretold.gaps) // 2] == pytest.approx(275.0, abs=10.0)


def test_two_requests_that_take_turns_each_have_their_place() -> None:
    pair = foretell([40.0, 260.0] * 12)
    assert pair.steady
    assert pair.gaps == pytest.approx([40.0] * 25)
    assert foretell([*[40.0, 260.0] * 11, 40.0]).gaps == pytest.approx([260.0] * 24)


def test_a_caller_to_the_second_has_a_schedule_too() -> None:
    foretold = foretell([3600.0] * 8)
    assert foretold.steady
    assert foretold.gaps == pytest.approx([3600.0] * 9)


@pytest.mark.parametrize("sigma", [0.5, 1.0])
def test_people_have_no_schedule(sigma: float) -> None:
    dice = random.Random(2)
    found = [foretell([dice.lognormvariate(4.0, sigma) for _ in range(KEPT_GAPS)]).steady for _ in range(200)]
    assert sum(found) <= 20


def test_a_few_gaps_or_one_long_pause_are_no_schedule() -> None:
    assert foretell([]).gaps == []
    assert not foretell([300.0] * 7).steady
    assert not foretell([60.0, 50.0, 70.0, 65.0, 40.0, 90.0, 75.0, 20000.0]).steady


@given(gaps=st.lists(st.floats(0, 1e7), max_size=KEPT_GAPS), idle=st.floats(0, 1e7), horizon=st.floats(0, 600))
def test_whatever_the_gaps_a_chance_is_one_and_a_longer_horizon_makes_it_no_smaller(
    gaps: list[float], idle: float, horizon: float
) -> None:
    foretold = foretell(gaps)
    assert len(foretold.gaps) == len(gaps) + foretold.steady
    chance, later = (chance_within(foretold.gaps, idle, seconds, 0.3) for seconds in (horizon, horizon + 60.0))
    assert 0.0 <= chance <= later <= 1.0
