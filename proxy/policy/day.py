"""At which hours of the day people are there, learnt from all models together: how each part of it changes hazards.

Never reads a clock and never knows a model's name. It says nothing of gaps below twenty minutes: in the midst of work
it does not matter what time it is. The day is that of Unix time; where it begins does not matter either.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Self

from proxy.policy.hazard import EDGES
from proxy.policy.state import State, numbers

PARTS = 8
ANY_TIME: tuple[float, ...] = (1.0,) * PARTS
"""Factors of somebody who comes at any time of the day alike."""

_PART_SECONDS = 86400.0 / PARTS
_FROM_SECONDS = 1200.0
_TO_SECONDS = EDGES[-1]
_DECAY = 0.998
_PRIOR_EVENTS = 10.0


def tells_of_the_day(gap_seconds: float) -> bool:
    """Whether the time of day had a part in how long this gap became: 20 minutes to a week."""
    return _FROM_SECONDS <= gap_seconds <= _TO_SECONDS


def pieces(began: float, end_seconds: float) -> Iterator[tuple[float, float, int, int | None]]:
    """Cut an idle time into pieces of constant hazard: its bins and the parts of the day that it lies in.

    Args:
        began: when the idle time began, Unix seconds.
        end_seconds: idle age at which it ends, at most a week.

    Yields:
        Idle age at which the piece begins and ends, its bin, and its part of the day; None where that does not matter.
    """
    low, index = 0.0, 0
    while low < end_seconds:
        high, part = min(EDGES[index + 1], end_seconds), None
        if low >= _FROM_SECONDS:
            day_part = int((began + low) // _PART_SECONDS)
            part_ends = (day_part + 1) * _PART_SECONDS - began
            part = day_part % PARTS
            if low < part_ends < high:
                high = part_ends
        yield low, high, index, part
        index += high >= EDGES[index + 1]
        low = high


class DayRhythm:
    """Gaps that ended in each part of the day, and how many had to be expected by idle age alone."""

    def __init__(self, events: Sequence[float] = (0.0,) * PARTS, expected: Sequence[float] = (0.0,) * PARTS) -> None:
        """Begin with these, one figure for each part of the day."""
        self._events, self._expected = list(events), list(expected)

    @property
    def factors(self) -> tuple[float, ...]:
        """How many times as likely as by idle age alone a request is in each part of the day, > 0."""
        pairs = zip(self._events, self._expected, strict=True)
        return tuple((events + _PRIOR_EVENTS) / (expected + _PRIOR_EVENTS) for events, expected in pairs)

    def add(self, began: float, gap_seconds: float, hazards: Sequence[float]) -> None:
        """Learn from a gap that tells of the day, given the hazard that its model had in each bin."""
        self._events = [events * _DECAY for events in self._events]
        self._expected = [expected * _DECAY for expected in self._expected]
        for low, high, index, part in pieces(began, gap_seconds):
            if part is not None:
                self._expected[part] += hazards[index] * (high - low)
        self._events[int((began + gap_seconds) // _PART_SECONDS) % PARTS] += 1.0

    def to_state(self) -> State:
        """Plain values for JSON."""
        return {"events": list(self._events), "expected": list(self._expected)}

    @classmethod
    def from_state(cls, state: Mapping[str, object]) -> Self:
        """Read what `to_state` wrote; ValueError if it is anything else."""
        return cls(_parts(state, "events"), _parts(state, "expected"))


def _parts(state: Mapping[str, object], key: str) -> list[float]:
    parts = numbers(state, key)
    if len(parts) != PARTS:
        raise ValueError(f"{key} must be {PARTS} numbers, got {len(parts)}")
    return parts
