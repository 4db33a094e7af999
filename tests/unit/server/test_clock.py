"""The clock that events are stamped with."""

import time

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
