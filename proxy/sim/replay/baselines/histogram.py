"""The hybrid histogram of "Serverless in the Wild", as a TTL. Loads nothing ahead: its pre-warming is left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from proxy.domain.units import format_duration
from proxy.policy import Lru, Ttl

if TYPE_CHECKING:
    from proxy.policy import Stay

_BIN_SECONDS, _BINS = 60.0, 240
_TAIL: Final = 0.99
_MARGIN: Final = 1.10
_REPRESENTATIVE: Final = 2.0
_MOST_BEYOND: Final = 0.5


@dataclass(slots=True)
class _IdleTimes:
    """One model's idle times by the minute, and how many were beyond the last one."""

    last: float
    bins: list[int] = field(default_factory=lambda: [0] * _BINS)
    beyond: int = 0

    def add(self, at: float) -> None:
        minute = int((at - self.last) / _BIN_SECONDS)
        self.last = at
        if minute < _BINS:
            self.bins[minute] += 1
        else:
            self.beyond += 1

    @property
    def representative(self) -> bool:
        """Whether few bins stand out, and most idle times are within them."""
        inside = sum(self.bins)
        mostly_inside = self.beyond <= _MOST_BEYOND * (inside + self.beyond)
        # their deviation is at least twice their mean, both squared and multiplied out
        stand_out = _BINS * sum([count * count for count in self.bins]) >= (1 + _REPRESENTATIVE**2) * inside**2
        return bool(inside) and mostly_inside and stand_out

    def tail_seconds(self) -> float:
        """The end of the minute below which 99 % of the idle times lie."""
        wanted = _TAIL * sum(self.bins)
        return _BIN_SECONDS * (1 + next(i for i, count in enumerate(accumulate(self.bins)) if count >= wanted))


class Histogram(Lru):
    """Keeps a model until the 99th percentile of its idle times and 10 % longer; 4 hours if those say too little.

    They say too little while their counts per minute vary less than twice their mean, and where most of them are beyond
    4 hours (there the paper forecasts with ARIMA, for the rarest of applications; here they get 4 hours too). Of the
    paper's two windows this is the keep-alive without pre-warming, which would unload at once and load again before the
    5th percentile. Source: Shahrad et al., "Serverless in the Wild", USENIX ATC 2020, section 4.2.
    """

    def __init__(self) -> None:
        self._idle_times: dict[str, _IdleTimes] = {}

    def asked(self, model: str, at: float) -> None:
        """Count an idle time."""
        known = self._idle_times.get(model)
        if known is None:
            self._idle_times[model] = _IdleTimes(at)
        else:
            known.add(at)

    def ttl(self, stay: Stay) -> Ttl:
        """Keep the model until nearly all of its idle times are over."""
        known = self._idle_times.get(stay.model)
        says_enough = known is not None and known.representative
        seconds = stay.clamp(known.tail_seconds() * _MARGIN if known and says_enough else _BINS * _BIN_SECONDS)
        why = "99 % of its idle times were shorter" if says_enough else "its idle times say too little"
        return Ttl(seconds, lambda: f"kept {format_duration(seconds)}: {why}")
