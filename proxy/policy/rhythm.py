"""A model's own rhythm: how likely it is asked for soon, from its last gaps one by one.

The idle-age bins of `hazard` are as wide as the age itself; a job that comes every hour is due within a minute of it.
Never reads a clock and never knows a model's name.
"""

from collections.abc import Sequence
from math import inf

KEPT_GAPS = 24
_PRIOR_GAPS = 2.0


def chance_within(gaps: Sequence[float], idle_seconds: float, horizon_seconds: float, otherwise: float) -> float:
    """P(a request within the horizon): the share of the gaps at least this long that ended within it.

    Args:
        gaps: the last gaps between requests, seconds.
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
