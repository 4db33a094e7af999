"""How likely a model is asked for next, learnt from the gaps between its requests: hazard per idle-age bin.

Never reads a clock and never knows a model's name: it counts gaps.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, inf
from typing import Self

EDGES: tuple[float, ...] = (
    *(0.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 2400.0, 3600.0, 7200.0),
    *(4 * 3600.0, 8 * 3600.0, 16 * 3600.0, 86400.0, 2 * 86400.0, 7 * 86400.0),
)
"""Lower edges of the idle-age bins, seconds; the last bin is open."""

_LONGEST_GAP_SECONDS = 1e7
WIDTHS: tuple[float, ...] = tuple(high - low for low, high in pairwise((*EDGES, _LONGEST_GAP_SECONDS)))
"""Seconds of each bin; the open one counts to about four months."""

_PRIOR_EVENTS = 0.02


def bin_of(idle_seconds: float) -> int:
    """Index of the bin that this idle age (>= 0) lies in."""
    return bisect_right(EDGES, idle_seconds) - 1


def chance(hazards: Sequence[float], idle_seconds: float, horizon_seconds: float) -> float:
    """P(a request within the horizon | idle for so long already): 1 - exp(-integral of the hazard)."""
    end, low, expected = idle_seconds + horizon_seconds, idle_seconds, 0.0
    for index in range(bin_of(idle_seconds), len(EDGES)):
        high = min(end, EDGES[index + 1] if index + 1 < len(EDGES) else inf)
        expected += hazards[index] * (high - low)
        low = high
        if high >= end:
            break
    return 1.0 - exp(-expected)


@dataclass(slots=True)
class Ages:
    """Decayed gaps that ended in each bin (`events`) and decayed seconds spent in it (`exposure`)."""

    events: list[float]
    exposure: list[float]

    @classmethod
    def none(cls) -> Self:
        """Nothing seen yet."""
        return cls([0.0] * len(EDGES), [0.0] * len(EDGES))

    @classmethod
    def prior(cls) -> Self:
        """What is assumed before the first gap of any model: one event in fifty bin widths."""
        return cls([_PRIOR_EVENTS] * len(EDGES), list(WIDTHS))

    def add(self, gap_seconds: float, decay: float) -> None:
        """Let the past fade by `decay` (0 … 1), then count one gap (>= 0 seconds)."""
        last = bin_of(gap_seconds)
        self.events = [events * decay for events in self.events]
        self.exposure = [seconds * decay for seconds in self.exposure]
        for index in range(last):
            self.exposure[index] += WIDTHS[index]
        self.exposure[last] += gap_seconds - EDGES[last]
        self.events[last] += 1.0

    def hazards(self) -> tuple[float, ...]:
        """Events per second in each bin; for bins with exposure only, as the pooled ones have."""
        return tuple(events / max(seconds, 1e-9) for events, seconds in zip(self.events, self.exposure, strict=True))

    def hazards_beside(self, pooled: Sequence[float]) -> tuple[float, ...]:
        """Events per second in each bin, with one bin width of the pooled hazard as the prior."""
        rows = zip(self.events, self.exposure, WIDTHS, pooled, strict=True)
        return tuple((events + width * prior) / (seconds + width) for events, seconds, width, prior in rows)
