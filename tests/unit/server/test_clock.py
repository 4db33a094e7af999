"""The clock that events are stamped with."""

import time

import pytest

from proxy.server.clock import SteadyClock


def test_it_shows_unix_seconds_and_never_goes_back() -> None:
    clock = SteadyClock()
    readings = [clock() for _ in range(1000)]
    assert readings == sorted(readings)
    assert abs(readings[0] - time.time()) < 0.1


def test_it_moves_as_the_monotonic_clock_moves() -> None:
    clock = SteadyClock()
    before = clock() - time.monotonic()
    after = clock() - time.monotonic()
    assert abs(after - before) < 0.01


def test_it_follows_the_clock_that_it_is_given() -> None:
    readings = iter([100.0, 101.5, 161.5])
    clock = SteadyClock(lambda: next(readings))
    assert clock() - time.time() == pytest.approx(1.5, abs=0.1)
    assert clock() - time.time() == pytest.approx(61.5, abs=0.1)


def test_a_simulations_clock_begins_where_it_is_told_and_goes_as_fast_as_it_is_told() -> None:
    readings = iter([100.0, 100.0, 101.5])
    clock = SteadyClock(lambda: next(readings), speed=60.0, starts_at=5000.0)
    assert [clock(), clock()] == [5000.0, 5090.0]
