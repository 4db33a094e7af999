import json

import pytest

from proxy.policy import UsageBook
from proxy.policy.day import ANY_TIME, PARTS, DayRhythm, pieces
from proxy.policy.hazard import EDGES, bin_of

HOUR, DAY = 3600.0, 86400.0
MONDAY = 1_700_438_400.0  # a midnight in Unix time


ONCE_A_DAY = (1 / DAY,) * len(EDGES)


def mornings(days=30):
    rhythm = DayRhythm()
    for day in range(days):
        rhythm.add(MONDAY + day * DAY + 9 * HOUR, DAY, ONCE_A_DAY)
    return rhythm


def test_nothing_seen_yet_means_any_time_of_the_day_alike():
    assert DayRhythm().factors == ANY_TIME


def test_the_part_of_the_day_in_which_people_come_is_the_likelier_one():
    factors = mornings().factors
    assert factors[3] == max(factors) > 1.0  # 9 to 12 o'clock
    assert all(factor < 0.9 for part, factor in enumerate(factors) if part != 3)


def test_new_habits_take_the_place_of_old_ones():
    rhythm = mornings()
    for day in range(300):
        rhythm.add(MONDAY + day * DAY + 21 * HOUR, DAY, ONCE_A_DAY)
    assert rhythm.factors[7] == max(rhythm.factors)


@pytest.mark.parametrize("gap_seconds", [0.0, 60.0, 1199.0, 8 * DAY])
def test_short_gaps_and_those_of_more_than_a_week_say_nothing_of_the_day(gap_seconds):
    book = UsageBook()
    book.arrived("m", MONDAY)
    book.arrived("m", MONDAY + gap_seconds)
    assert book.day_factors == ANY_TIME


def test_pieces_cover_the_idle_time_and_stay_within_a_bin_and_a_part_of_the_day():
    began = MONDAY + 4321.5
    cut = list(pieces(began, 2 * DAY))
    assert [low for low, _, _, _ in cut] == [0.0, *(high for _, high, _, _ in cut[:-1])]
    assert cut[-1][1] == 2 * DAY
    for low, high, index, part in cut:
        middle = (low + high) / 2
        assert bin_of(middle) == index
        assert high <= EDGES[index + 1]
        assert part == (int((began + middle) % DAY / (DAY / PARTS)) if low >= 1200 else None)


def test_the_rhythm_survives_a_restart():
    rhythm = mornings()
    assert DayRhythm.from_state(json.loads(json.dumps(rhythm.to_state()))).factors == rhythm.factors


@pytest.mark.parametrize(
    ("state", "complaint"),
    [
        ({"events": [1.0]}, "events must be 8 numbers, got 1"),
        ({"events": [1.0] * PARTS}, "expected must be a list of numbers, got None"),
        ({"events": [1.0] * PARTS, "expected": [-1.0] * PARTS}, "expected must be a finite number >= 0, got -1.0"),
    ],
)
def test_a_state_that_is_none_is_refused(state, complaint):
    with pytest.raises(ValueError, match=complaint):
        DayRhythm.from_state(state)


def used_in_the_mornings(book, days=30):
    for day in range(days):
        for minute in (0, 1, 3, 30, 90):
            book.arrived("m", MONDAY + day * DAY + 9 * HOUR + minute * 60)
    return book


def test_a_book_learns_the_day_from_the_gaps_of_all_models():
    book = used_in_the_mornings(UsageBook())
    assert book.day_factors[3] == max(book.day_factors) > 1.0
    assert UsageBook.from_state(json.loads(json.dumps(book.to_state()))).day_factors == book.day_factors


def test_a_state_of_before_the_day_was_learnt_is_read():
    state = used_in_the_mornings(UsageBook()).to_state()
    del state["day"]
    assert UsageBook.from_state(state).day_factors == ANY_TIME
