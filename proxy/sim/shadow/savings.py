"""Adds up waiting, ours and that with Ollama alone: since the start, and for each of the last seven days.

Never counts a request on one side only.
"""

from __future__ import annotations

import time
from math import fsum, isfinite
from typing import Any, Final

from proxy.domain.snapshot import DayOfWaits, SavedSnapshot, Waits

POLICY: Final = "ollama"
_DAYS: Final = 7
_DAY_SECONDS: Final = 86_400.0


class Savings:
    """What was waited, and what would have been."""

    def __init__(self) -> None:
        self._waited = self._alone = 0.0
        self._since: float | None = None
        self._days: dict[str, tuple[float, float]] = {}

    def begin(self, at: float) -> None:
        """Compare from this time on, unix seconds; what was restored began earlier."""
        if self._since is None:
            self._since = at

    def add(self, at: float, waited_seconds: float, alone_seconds: float) -> None:
        """Count a request that came at this time, unix seconds."""
        if not (waited_seconds or alone_seconds):
            return
        self._waited += waited_seconds
        self._alone += alone_seconds
        day = _day(at)
        waited, alone = self._days.get(day, (0.0, 0.0))
        self._days[day] = (waited + waited_seconds, alone + alone_seconds)
        while len(self._days) > _DAYS + 1:  # one more: after midnight, requests of yesterday are still to come
            del self._days[min(self._days)]

    def snapshot(self, at: float) -> SavedSnapshot:
        """Return the sums; the days are those that end with the day of this time."""
        since = at if self._since is None else self._since
        days = tuple(DayOfWaits(*self._days.get(day, (0.0, 0.0)), day) for day in _week(since, at))
        waited, alone = fsum(day.waited_seconds for day in days), fsum(day.alone_seconds for day in days)
        return SavedSnapshot(
            waited_seconds=waited,
            alone_seconds=alone,
            policy=POLICY,
            since=max(since, _midnight(at - (len(days) - 1) * _DAY_SECONDS)),
            seconds=alone - waited,
            since_start=Waits(self._waited, self._alone),
            days=days,
        )

    def to_state(self) -> dict[str, Any]:
        """Return what is to be remembered over a restart, as plain values for JSON."""
        return {"since": self._since, "days": {day: list(sums) for day, sums in self._days.items()}}

    def restore(self, state: object) -> None:
        """Add what `to_state` gave an earlier process; None: there was none.

        Raises:
            ValueError: it is not what `to_state` gives.
        """
        if state is None:
            return
        since, days = _read(state)
        for day, (waited, alone) in days.items():
            ours = self._days.get(day, (0.0, 0.0))
            self._days[day] = (ours[0] + waited, ours[1] + alone)
        if since is not None:
            self._since = since if self._since is None else min(since, self._since)


def _week(since: float, at: float) -> list[str]:
    """The days from the one of `since` on, but no more than seven, today the last."""
    noon = _midnight(at) + _DAY_SECONDS / 2  # so that a day of 23 or 25 hours moves nothing to another date
    week = [_day(noon - back * _DAY_SECONDS) for back in reversed(range(_DAYS))]
    return [day for day in week if day >= _day(since)] or week[-1:]


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(at))


def _midnight(at: float) -> float:
    day = time.localtime(at)
    return time.mktime((day.tm_year, day.tm_mon, day.tm_mday, 0, 0, 0, 0, 0, -1))


def _read(state: object) -> tuple[float | None, dict[str, tuple[float, float]]]:
    try:
        since, days = state["since"], state["days"]  # type: ignore[index]
        read = {_day(_parsed(day)): (_seconds(waited), _seconds(alone)) for day, (waited, alone) in days.items()}
        return (None if since is None else _seconds(since)), read
    except (TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ValueError(f"expected since and days (got {state!r:.200})") from error


def _parsed(day: str) -> float:
    return time.mktime(time.strptime(day, "%Y-%m-%d"))


def _seconds(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value) or value < 0:
        raise ValueError(f"expected seconds >= 0 (got {value!r:.50})")
    return float(value)
