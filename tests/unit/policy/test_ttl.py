from dataclasses import replace

import pytest

from proxy.policy.hazard import EDGES
from proxy.policy.ttl import Stay, Ttl, priced_ttl
from tests.unit.policy.values import GIB

HOUR, DAY = 3600.0, 86400.0
NEVER = tuple(0.0 for _ in EDGES)


def stay(hazards=NEVER, *, gib=5, load=6.0, price=0.005, shortest=0.0, longest=DAY):
    return Stay(hazards, gib * GIB, load, price, shortest, longest)


def hazards_until(seconds, hazard):
    return tuple(hazard if edge < seconds else 0.0 for edge in EDGES)


def test_memory_without_a_price_keeps_for_the_maximum():
    ttl = priced_ttl(stay(price=0))
    assert (ttl.seconds, ttl.why()) == (DAY, "kept 24h: memory has no price")


def test_a_model_that_nobody_asks_for_again_stays_for_the_minimum():
    ttl = priced_ttl(stay(shortest=300))
    assert ttl.seconds == 300
    assert ttl.why() == ("kept 5m (the minimum): asked for within that time 0%, reload 6s, 5GiB, price 5ms per GiB·h")


def test_a_model_stays_as_long_as_its_hazard_times_reload_exceeds_its_rent():
    # 5 GiB at 36 s per GiB·h cost 0.05 s per second; reloading 6 s pays while the hazard exceeds 1/120
    expensive = 36.0
    assert priced_ttl(stay(hazards_until(60, 0.05), price=expensive)).seconds == 60
    assert priced_ttl(stay(hazards_until(60, 0.005), price=expensive)).seconds == 0


def test_a_quiet_stretch_is_bridged_when_a_likely_use_lies_behind_it():
    hazards = tuple(0.05 if edge in {60.0, 120.0} else 0.0 for edge in EDGES)
    assert priced_ttl(stay(hazards, price=1.0)).seconds == 300


def test_a_model_stays_over_the_noon_but_not_over_the_night():
    hazards = tuple(1 / (4 * HOUR) if edge >= 1200 else 0.0 for edge in EDGES)
    in_the_morning = Stay(hazards, 5 * GIB, 6.0, 0.2, 0.0, DAY, began=9 * HOUR, day_factors=(0.1,) * 3 + (2.0,) * 5)
    in_the_evening = replace(in_the_morning, began=23.5 * HOUR)
    assert priced_ttl(in_the_morning).seconds > 4 * HOUR
    assert priced_ttl(in_the_evening).seconds == 0.0
    assert "asked for within that time 0%" in priced_ttl(in_the_evening).why()


def test_a_model_never_stays_longer_than_two_loads_are_worth():
    # its hazard pays for staying at any age, but 5 GiB at 36 s per GiB·h cost two loads of 6 s in 240 s
    assert priced_ttl(stay(tuple(0.01 for _ in EDGES), load=6.0, price=36.0)).seconds == pytest.approx(240)


def test_the_maximum_bounds_a_busy_model():
    ttl = priced_ttl(stay(tuple(0.01 for _ in EDGES), price=0.0001, longest=HOUR))
    assert ttl.seconds == HOUR
    assert "(the maximum)" in ttl.why()


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"price": -1.0}, "price must be"),
        ({"load": float("inf")}, "load_seconds must be"),
        ({"gib": -1}, "bytes must be"),
        ({"shortest": 600.0, "longest": 300.0}, "max_seconds must be finite and >= 600 seconds, got 300"),
        ({"hazards": (0.0,)}, "hazards must be 17 numbers, got 1"),
    ],
)
def test_a_stay_that_makes_no_sense_is_refused(values, complaint):
    with pytest.raises(ValueError, match=complaint):
        stay(**values)


def test_a_ttl_is_finite_and_not_negative():
    with pytest.raises(ValueError, match="ttl must be finite and >= 0 seconds, got -3"):
        Ttl(-3, str)
