from math import exp

import pytest

from proxy.policy.hazard import EDGES, WIDTHS, Ages, bin_of, chance

EVERYWHERE = tuple(0.01 for _ in EDGES)


def test_the_bins_are_those_of_the_policy():
    hours, days = 3600.0, 86400.0
    short = [0, 10, 30, 60, 120, 300, 600, 1200, 2400, 3600, 7200]
    assert list(EDGES) == [*short, 4 * hours, 8 * hours, 16 * hours, days, 2 * days, 7 * days]


@pytest.mark.parametrize(("idle", "index"), [(0, 0), (9.99, 0), (10, 1), (599, 5), (600, 6), (604800, 16), (1e9, 16)])
def test_an_idle_age_lies_in_the_bin_whose_lower_edge_it_has_reached(idle, index):
    assert bin_of(idle) == index


@pytest.mark.parametrize("idle", [0.0, 5.0, 10.0, 3599.0, 700000.0])
def test_a_constant_hazard_gives_the_exponential_chance_wherever_the_age_lies(idle):
    assert chance(EVERYWHERE.__getitem__, idle, 100.0) == pytest.approx(1 - exp(-1))


def test_the_chance_adds_up_the_hazards_of_the_bins_it_crosses():
    hazards = (0.1, 0.02, *(0.0 for _ in EDGES[2:]))
    # from age 5 on: 5 s at 0.1, then 20 s at 0.02, then nothing
    assert chance(hazards.__getitem__, 5.0, 1000.0) == pytest.approx(1 - exp(-(0.5 + 0.4)))


def test_no_horizon_no_chance():
    assert chance(EVERYWHERE.__getitem__, 20.0, 0.0) == 0.0


def test_a_gap_exposes_every_bin_it_crossed_and_counts_in_the_one_it_ended_in():
    ages = Ages.none()
    ages.add(45.0, decay=0.98)
    assert ages.exposure[:4] == [10.0, 20.0, 15.0, 0.0]
    assert ages.events[:4] == [0.0, 0.0, 1.0, 0.0]


def test_the_past_fades_before_a_gap_is_counted():
    ages = Ages.none()
    ages.add(5.0, decay=0.98)
    ages.add(5.0, decay=0.98)
    assert ages.events[0] == pytest.approx(1.98)
    assert ages.exposure[0] == pytest.approx(5 * 1.98)


def test_a_gap_of_months_counts_in_full_in_the_open_bin():
    ages = Ages.none()
    ages.add(2e7, decay=1.0)
    assert ages.exposure[-1] == 2e7 - EDGES[-1]
    assert ages.events[-1] == 1.0


def test_without_a_past_of_its_own_the_hazard_is_the_pooled_one():
    pooled = Ages.prior()
    assert Ages.none().hazards_beside(pooled.hazards()) == pytest.approx(pooled.hazards())
    assert pooled.hazards()[0] == pytest.approx(0.02 / WIDTHS[0])


def test_its_own_past_outweighs_one_bin_width_of_the_pooled_hazard():
    ages = Ages.none()
    for _ in range(3):
        ages.add(5.0, decay=1.0)
    # three events in 15 s, beside a prior of 10 s at 0.002 per second, and at its own pace: 0.03 gaps were foretold
    pace = (3 + 10) / (15 * 0.002 + 10)
    assert ages.hazards_beside(Ages.prior().hazards())[0] == pytest.approx((3 + 10 * 0.002 * pace) / (15 + 10))


def test_where_it_has_no_gaps_of_its_own_the_pooled_hazard_is_taken_at_the_models_own_pace() -> None:
    pooled = Ages.prior()
    for gap_seconds in (5.0, 45.0, 4000.0, 1e5) * 100:
        pooled.add(gap_seconds, decay=1.0)
    hazards = pooled.hazards()
    busy, rare = Ages.none(), Ages.none()
    for _ in range(100):
        busy.add(5.0, decay=1.0)
        rare.add(1e5, decay=1.0)
    a_day = bin_of(90_000.0)
    assert busy.pace_beside(hazards) > 2.0
    assert rare.pace_beside(hazards) < 0.8
    assert busy.hazard_beside(hazards, a_day) == pytest.approx(busy.pace_beside(hazards) * hazards[a_day])


def test_a_pace_follows_each_gap_and_is_one_before_any() -> None:
    ages, pooled = Ages.none(), Ages.prior().hazards()
    paces = [ages.pace_beside(pooled)]
    for _ in range(3):
        ages.add(1.0, decay=0.98)
        paces.append(ages.pace_beside(pooled))
    assert paces[0] == 1.0
    assert paces == sorted(set(paces))


def test_the_past_of_ten_thousand_gaps_fades_as_that_of_two() -> None:
    long_ago, just_now = Ages.none(), Ages.none()
    for _ in range(20_000):
        long_ago.add(700.0, decay=0.98)
    for ages in (long_ago, just_now):
        for _ in range(2_000):
            ages.add(5.0, decay=0.98)
    assert long_ago.events == pytest.approx(just_now.events)
    assert long_ago.exposure == pytest.approx(just_now.exposure)


def test_a_single_bin_has_the_hazard_that_it_has_among_all_of_them() -> None:
    ages, pooled = Ages.none(), Ages.prior()
    for gap_seconds in (5.0, 45.0, 4000.0, 1e6):
        ages.add(gap_seconds, decay=0.9)
        pooled.add(gap_seconds / 2, decay=0.99)
    single = [ages.hazard_beside(pooled.hazards(), index) for index in range(len(EDGES))]
    assert ages.hazards_beside(pooled.hazards()) == pytest.approx(single)


def test_the_hazards_follow_each_new_gap() -> None:
    ages = Ages.prior()
    before = ages.hazards()
    ages.add(5.0, decay=0.9)
    per_second = [events / seconds for events, seconds in zip(ages.events, ages.exposure, strict=True)]
    assert ages.hazards() == pytest.approx(per_second)
    assert ages.hazards()[0] > before[0]
