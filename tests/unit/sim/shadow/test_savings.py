from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from proxy.domain.snapshot import DayOfWaits, Waits
from proxy.sim.shadow.savings import Savings

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY = 86_400.0
NOON = 1_700_049_600.0  # Wednesday, 2023-11-15, 12:00 UTC


@pytest.fixture(autouse=True, params=["UTC", "America/New_York"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_nothing_yet_is_a_day_of_zeros() -> None:
    told = Savings().snapshot(NOON)
    assert told.days == (DayOfWaits(0.0, 0.0, "2023-11-15"),)
    assert (told.waited_seconds, told.alone_seconds, told.seconds) == (0.0, 0.0, 0.0)
    assert (told.policy, told.since) == ("ollama", NOON)


def test_what_is_saved_is_the_difference_day_by_day_and_since_the_start() -> None:
    savings = Savings()
    savings.begin(NOON - DAY)
    savings.add(NOON - DAY, 5.0, 20.0)
    savings.add(NOON, 10.0, 0.0)
    savings.add(NOON + 1, 0.0, 1.5)
    told = savings.snapshot(NOON + 2)
    assert told.days == (DayOfWaits(5.0, 20.0, "2023-11-14"), DayOfWaits(10.0, 1.5, "2023-11-15"))
    assert (told.waited_seconds, told.alone_seconds, told.seconds) == (15.0, 21.5, 6.5)
    assert told.since_start == Waits(15.0, 21.5)
    assert told.since == NOON - DAY


def test_ollama_alone_may_do_better() -> None:
    savings = Savings()
    savings.add(NOON, 30.0, 10.0)
    assert savings.snapshot(NOON).seconds == -20.0


def test_seven_days_are_shown_and_no_more_are_kept() -> None:
    savings = Savings()
    savings.begin(NOON - 30 * DAY)
    for back in range(30, -1, -1):
        savings.add(NOON - back * DAY, 1.0, 2.0)
    told = savings.snapshot(NOON)
    assert [day.day for day in told.days] == [f"2023-11-{day:02}" for day in range(9, 16)]
    assert (told.waited_seconds, told.seconds) == (7.0, 7.0)
    assert told.since_start == Waits(31.0, 62.0)
    assert time.strftime("%d %H:%M", time.localtime(told.since)) == "09 00:00"
    assert len(savings.to_state()["days"]) == 8


def test_days_without_waiting_are_shown_too() -> None:
    savings = Savings()
    savings.begin(NOON - 2 * DAY)
    savings.add(NOON, 1.0, 2.0)
    days = savings.snapshot(NOON).days
    assert [(day.day[-2:], day.waited_seconds) for day in days] == [("13", 0.0), ("14", 0.0), ("15", 1.0)]


def test_a_change_of_the_clock_to_winter_time_loses_no_day() -> None:
    savings = Savings()
    sunday = time.mktime((2023, 11, 5, 12, 0, 0, 0, 0, -1))  # of 25 hours in New York
    savings.begin(sunday - 10 * DAY)
    days = [day.day for day in savings.snapshot(sunday + DAY / 2 - 60).days]
    assert days == ["2023-10-30", "2023-10-31", *(f"2023-11-{day:02}" for day in range(1, 6))]


def test_days_survive_a_restart_but_the_start_is_a_new_one() -> None:
    before, after = Savings(), Savings()
    before.begin(NOON - DAY)
    before.add(NOON - DAY, 5.0, 20.0)
    before.add(NOON, 1.0, 2.0)
    after.begin(NOON + 60)
    after.add(NOON + 60, 10.0, 10.0)
    after.restore(json.loads(json.dumps(before.to_state())))
    told = after.snapshot(NOON + 61)
    assert told.days == (DayOfWaits(5.0, 20.0, "2023-11-14"), DayOfWaits(11.0, 12.0, "2023-11-15"))
    assert told.since_start == Waits(10.0, 10.0)
    assert told.since == NOON - DAY


@pytest.mark.parametrize(
    "state",
    [
        [],
        "days",
        {},
        {"since": 1.0, "days": [1]},
        {"since": "x", "days": {}},
        {"since": None, "days": {"2023-11-15": [1.0]}},
        {"since": None, "days": {"2023-11-15": [1.0, -1.0]}},
        {"since": None, "days": {"2023-11-15": [1.0, float("nan")]}},
        {"since": None, "days": {"yesterday": [1.0, 1.0]}},
        {"since": None, "days": {"2023-11-15": 7}},
    ],
)
def test_a_state_that_is_none_is_refused_and_changes_nothing(state: Any) -> None:
    savings = Savings()
    savings.add(NOON, 1.0, 2.0)
    before = savings.snapshot(NOON)
    with pytest.raises(ValueError, match=r"expected|time data|unpack"):
        savings.restore(state)
    assert savings.snapshot(NOON) == before


def test_no_state_is_nothing_to_restore() -> None:
    savings = Savings()
    savings.restore(None)
    assert savings.to_state() == {"since": None, "days": {}}
