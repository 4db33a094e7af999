"""A model's own rhythm: how likely it is asked for soon, from its last gaps one by one.

The idle-age bins of `hazard` are as wide as the age itself; a job that comes every hour is due within a minute of it.
Never reads a clock and never knows a model's name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf
from statistics import fmean, variance

KEPT_GAPS = 24
_PRIOR_GAPS = 2.0

_LEAST_GAPS = 8
_LONGEST_CYCLE = 3
_CYCLES = 4
_STEADY, _SIMPLER = 0.6, 0.8
_EXACT_VARIANCE = 1.0


@dataclass(frozen=True, slots=True)
class Foretold:
    """How long the gap after the last request may be.

    Attributes:
        gaps: seconds, each as likely as the other; those of a schedule may be below 0.
        steady: whether they follow from a schedule rather than from the last gaps alone.
    """

    gaps: Sequence[float]
    steady: bool


def foretell(gaps: Sequence[float]) -> Foretold:
    """Find the schedule behind the last gaps (seconds, the newest last), if there is one.

    A caller that comes by the clock, a little early or late each time, does not drift: its requests lie around a line,
    or, where up to three take turns, around as many lines of one slope. They scatter less around it than gaps differ,
    because a gap errs at both ends. The errors of all requests then say how early or late the next one may be.
    """
    best, found = _STEADY * (variance(gaps) + _EXACT_VARIANCE) if len(gaps) >= _LEAST_GAPS else 0.0, gaps
    for cycle in range(1, _LONGEST_CYCLE + 1):
        if len(gaps) < max(_LEAST_GAPS, _CYCLES * cycle - 1):
            break
        due, errors = _schedule(gaps, cycle)
        scatter = sum(error * error for error in errors) / (len(gaps) - cycle)
        if scatter < best * (_SIMPLER if cycle > 1 else 1.0):
            best, found = scatter, [due + error for error in errors]
    return Foretold(found, steady=found is not gaps)


def _schedule(gaps: Sequence[float], cycle: int) -> tuple[float, list[float]]:
    """Fit lines of one slope through every so-manieth request: when the next is due after the last, and all errors."""
    times = [-age for age in accumulate(reversed(gaps), initial=0.0)]  # the last request is number 0, the next is -1
    groups = [range(first, len(times), cycle) for first in range(cycle)]
    middles = [(fmean(group), fmean(times[number] for number in group)) for group in groups]
    offsets = [(i - middles[i % cycle][0], at - middles[i % cycle][1]) for i, at in enumerate(times)]
    slope = sum(x * y for x, y in offsets) / sum(x * x for x, _ in offsets)
    number, at = middles[-1]
    return at - slope * (1.0 + number), [y - slope * x for x, y in offsets]


def chance_within(gaps: Sequence[float], idle_seconds: float, horizon_seconds: float, otherwise: float) -> float:
    """P(a request within the horizon): the share of the gaps at least this long that ended within it.

    Args:
        gaps: the last gaps between requests, or what they foretell, seconds.
        idle_seconds: how long it is idle now.
        horizon_seconds: how far to look ahead.
        otherwise: what to expect without them, 0 … 1; it counts as much as two gaps.
    """
    end_seconds = idle_seconds + horizon_seconds
    longer = [gap for gap in gaps if gap > idle_seconds]
    ended = sum(gap <= end_seconds for gap in longer)
    return (ended + _PRIOR_GAPS * otherwise) / (len(longer) + _PRIOR_GAPS)


def next_end(gaps: Sequence[float], idle_seconds: float) -> float:
    """The idle age, in seconds, at which the next of the gaps ended; infinity: all were shorter."""
    return min((gap for gap in gaps if gap > idle_seconds), default=inf)
