"""How likely a model is asked for next, learnt from the gaps between its requests: hazard per idle-age bin.

Never reads a clock and never knows a model's name: it counts gaps.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import exp, inf
from operator import mul
from typing import Self

EDGES: tuple[float, ...] = (
    *(0.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 2400.0, 3600.0, 7200.0),
    *(4 * 3600.0, 8 * 3600.0, 16 * 3600.0, 86400.0, 2 * 86400.0, 7 * 86400.0),
)
"""Lower edges of the idle-age bins, seconds; the last bin is open."""

_LONGEST_GAP_SECONDS = 1e7
WIDTHS: tuple[float, ...] = tuple(high - low for low, high in pairwise((*EDGES, _LONGEST_GAP_SECONDS)))
"""Seconds of each bin; the open one counts to about four months."""

_UPPER_EDGES = (*EDGES[1:], inf)

_PRIOR_EVENTS = 0.02
_LARGEST_UNIT = 1e100

PACE_GAPS = 10.0
"""How many gaps it takes until a model's own pace counts as much as that of all models."""


def bin_of(idle_seconds: float) -> int:
    """Index of the bin that this idle age (>= 0) lies in."""
    return bisect_right(EDGES, idle_seconds) - 1


def chance(hazard: Callable[[int], float], idle_seconds: float, horizon_seconds: float) -> float:
    """P(a request within the horizon | idle for so long already): 1 - exp(-integral of the hazard), given per bin."""
    end, low, expected = idle_seconds + horizon_seconds, idle_seconds, 0.0
    index = bin_of(idle_seconds)
    while True:
        high = min(end, _UPPER_EDGES[index])
        expected += hazard(index) * (high - low)
        if high >= end:
            return 1.0 - exp(-expected)
        low, index = high, index + 1


class Ages:
    """Decayed gaps that ended in each bin (`events`) and decayed seconds spent in it (`exposure`).

    What is new counts more instead of all the past counting less: a gap costs no more than the bins that it crossed.
    """

    __slots__ = ("_events", "_exposure", "_hazards", "_pace", "_paced_by", "_unit")

    def __init__(self, events: Sequence[float], exposure: Sequence[float]) -> None:
        """Begin with these, one figure for each bin."""
        self._events, self._exposure, self._unit = list(events), list(exposure), 1.0
        self._hazards: tuple[float, ...] = ()
        self._pace = 1.0
        self._paced_by: Sequence[float] = ()

    @classmethod
    def none(cls) -> Self:
        """Nothing seen yet."""
        return cls([0.0] * len(EDGES), [0.0] * len(EDGES))

    @classmethod
    def prior(cls) -> Self:
        """What is assumed before the first gap of any model: one event in fifty bin widths."""
        return cls([_PRIOR_EVENTS] * len(EDGES), WIDTHS)

    @property
    def events(self) -> list[float]:
        """Gaps that ended in each bin, as they count now."""
        return [events / self._unit for events in self._events]

    @property
    def exposure(self) -> list[float]:
        """Seconds spent in each bin, as they count now."""
        return [seconds / self._unit for seconds in self._exposure]

    def add(self, gap_seconds: float, decay: float) -> None:
        """Let the past fade by `decay` (above 0, at most 1), then count one gap (>= 0 seconds)."""
        unit = self._unit = self._unit / decay
        self._hazards = self._paced_by = ()
        last = bin_of(gap_seconds)
        for index in range(last):
            self._exposure[index] += WIDTHS[index] * unit
        self._exposure[last] += (gap_seconds - EDGES[last]) * unit
        self._events[last] += unit
        if unit > _LARGEST_UNIT:
            self._events, self._exposure, self._unit = self.events, self.exposure, 1.0

    def pace_beside(self, pooled: Sequence[float]) -> float:
        """How many times as often as the pooled hazards foretell the model was asked for; 1 as the prior.

        Where a bin has few gaps of its own, the model's pace in all others tells more than other models do: the chances
        are proportional, with a factor for each model (a frailty, as survival analysis calls it). Reckoned once for the
        same pooled hazards.
        """
        if self._paced_by is not pooled:
            one = PACE_GAPS * self._unit
            foretold = sum(map(mul, self._exposure, pooled))
            self._pace, self._paced_by = (sum(self._events) + one) / (foretold + one), pooled
        return self._pace

    def hazard_beside(self, pooled: Sequence[float], index: int) -> float:
        """Events per second in a bin, with one bin width of the pooled hazard at the model's own pace as the prior."""
        width = WIDTHS[index] * self._unit
        prior = self.pace_beside(pooled) * pooled[index]
        return (self._events[index] + width * prior) / (self._exposure[index] + width)

    def hazards(self) -> tuple[float, ...]:
        """Events per second in each bin; for bins with exposure only, as the pooled ones have.

        Reckoned once for each gap, because every model asks for the pooled ones.
        """
        if not self._hazards:
            least = 1e-9 * self._unit
            pairs = zip(self._events, self._exposure, strict=True)
            self._hazards = tuple([events / max(seconds, least) for events, seconds in pairs])
        return self._hazards

    def hazards_beside(self, pooled: Sequence[float]) -> tuple[float, ...]:
        """The same for each bin."""
        return tuple([self.hazard_beside(pooled, index) for index in range(len(EDGES))])
