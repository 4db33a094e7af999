from __future__ import annotations

import math

import pytest

from proxy.policy.rhythm import chance_within, next_end


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
