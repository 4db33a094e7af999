"""The hybrid histogram of "Serverless in the Wild", as a TTL. Loads nothing ahead: its pre-warming is left out."""

from __future__ import annotations

from itertools import pairwise
from math import exp, log
from typing import TYPE_CHECKING, Final

from proxy.domain.units import format_duration
from proxy.policy import Lru, Ttl
from proxy.policy.hazard import EDGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.policy import Stay

_TAIL: Final = 0.99
_RANGE_SECONDS: Final = 4 * 3600.0
_MARGIN: Final = 1.10


class Histogram(Lru):
    """Keeps a model until the 99th percentile of its idle times, and 10 % longer; beyond 4 hours, for 4 hours.

    Source: Shahrad et al., "Serverless in the Wild", USENIX ATC 2020, section 4.2: keep-alive window = 99th percentile
    of a histogram over 4 hours, with a margin of 10 %; an application whose idle times lie mostly beyond it is kept for
    a fixed time. There bins are minutes; here they are keepwarm's, with an even chance inside each, and decayed.
    The pre-warming window (unload at once, load again before the 5th percentile) needs loads ahead of use.
    """

    def ttl(self, stay: Stay) -> Ttl:
        """Keep the model until nearly all of its idle times are over."""
        tail = _percentile(stay.hazards, _TAIL)
        seconds = stay.clamp(_RANGE_SECONDS if tail > _RANGE_SECONDS else tail * _MARGIN)
        return Ttl(seconds, f"kept {format_duration(seconds)}: 99 % of its idle times were shorter, or it is the range")


def _percentile(hazards: Sequence[float], share: float) -> float:
    """The idle time, seconds, below which this share of all idle times lies; the longest edge if beyond."""
    still_away = 1.0
    for hazard, (low, high) in zip(hazards, pairwise(EDGES), strict=False):  # the last bin is open
        after = still_away * exp(-hazard * (high - low))
        if after <= 1 - share:
            return low + log(still_away / (1 - share)) / hazard
        still_away = after
    return EDGES[-1]
