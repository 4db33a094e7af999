"""What is known of one model's use: when it is asked for, how long it loads and how long it serves.

Never reads a clock: every time is Unix seconds given by the caller; one before the last counts as equal.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp
from typing import Self

from proxy.policy.contexts import Contexts
from proxy.policy.hazard import Ages
from proxy.policy.rhythm import KEPT_GAPS, Foretold, foretell
from proxy.policy.state import State, ages_from, ages_state, mapping, number, number_or_none, numbers

_MODEL_DECAY = 0.98
SECONDS_WEIGHT = 0.3
_CLIENT_SHARE = 0.1
_DAY_SECONDS, _HOUR_SECONDS = 86400.0, 3600.0


def averaged(average: float | None, value: float, weight: float) -> float:
    """Exponentially weighted average; the first value counts whole."""
    return value if average is None else average + weight * (value - average)


@dataclass(slots=True)
class Usage:
    """One model's past. Averages are None until the first value.

    Attributes:
        first_arrival: Unix seconds.
        last_arrival: Unix seconds.
        uses: arrivals, fading by 1/e a day.
        ages: its gaps, decayed per arrival.
        cold_load_seconds: average of loads that read the weights from disk.
        warm_load_seconds: average of loads with the weights in the page cache.
        service_seconds: average time to serve a request.
        gaps: the last 24 of its gaps, seconds.
        client_weight: average weight of who asks for it; the last ten requests make two thirds of it.
        contexts: the context lengths that were asked for.
    """

    first_arrival: float
    last_arrival: float
    uses: float = 0.0
    ages: Ages = field(default_factory=Ages.none)
    cold_load_seconds: float | None = None
    warm_load_seconds: float | None = None
    service_seconds: float | None = None
    gaps: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_GAPS))
    client_weight: float | None = None
    contexts: Contexts = field(default_factory=Contexts)
    _foretold: Foretold | None = field(default=None, compare=False, repr=False)

    @property
    def foretold(self) -> Foretold:
        """What the last gaps foretell of the next one."""
        if self._foretold is None:
            self._foretold = foretell(tuple(self.gaps))
        return self._foretold

    def arrived(self, at: float, client_weight: float = 1.0) -> None:
        """Count a request."""
        self.uses = self._uses_left(at) + 1.0
        self.last_arrival = max(self.last_arrival, at)
        self.client_weight = averaged(self.client_weight, client_weight, _CLIENT_SHARE)

    def came_back(self, at: float, client_weight: float = 1.0) -> float:
        """Count a request that is not the first, learn from the gap before it, and return that gap in seconds."""
        gap_seconds = self.idle_seconds(at)
        self.ages.add(gap_seconds, _MODEL_DECAY)
        self.gaps.append(gap_seconds)
        self._foretold = None
        self.arrived(at, client_weight)
        return gap_seconds

    def loaded(self, seconds: float, *, page_cache_warm: bool) -> None:
        """Learn how long a load took."""
        if page_cache_warm:
            self.warm_load_seconds = averaged(self.warm_load_seconds, seconds, SECONDS_WEIGHT)
        else:
            self.cold_load_seconds = averaged(self.cold_load_seconds, seconds, SECONDS_WEIGHT)

    def served(self, seconds: float) -> None:
        """Learn how long a request was served."""
        self.service_seconds = averaged(self.service_seconds, seconds, SECONDS_WEIGHT)

    def load_seconds(self, *, page_cache_warm: bool) -> float | None:
        """Average load of that kind; of the other kind before there was one; None before there was any."""
        own, other = self.warm_load_seconds, self.cold_load_seconds
        if not page_cache_warm:
            own, other = other, own
        return other if own is None else own

    def idle_seconds(self, now: float) -> float:
        """Seconds since the last arrival."""
        return max(0.0, now - self.last_arrival)

    def rate_per_hour(self, now: float) -> float:
        """Arrivals per hour over the last day, or since the first one if that is later, but over an hour at least."""
        known_seconds = max(0.0, now - self.first_arrival)
        window_seconds = max(_HOUR_SECONDS, _DAY_SECONDS * (1.0 - exp(-known_seconds / _DAY_SECONDS)))
        return self._uses_left(now) / window_seconds * _HOUR_SECONDS

    def to_state(self) -> State:
        """Plain values for JSON."""
        return {
            "first_arrival": self.first_arrival,
            "last_arrival": self.last_arrival,
            "uses": self.uses,
            "ages": ages_state(self.ages),
            "cold_load_seconds": self.cold_load_seconds,
            "warm_load_seconds": self.warm_load_seconds,
            "service_seconds": self.service_seconds,
            "gaps": list(self.gaps),
            "client_weight": self.client_weight,
            "contexts": self.contexts.to_state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, object]) -> Self:
        """Read what `to_state` wrote; ValueError if it is anything else."""
        return cls(
            first_arrival=number(state, "first_arrival"),
            last_arrival=number(state, "last_arrival"),
            uses=number(state, "uses"),
            ages=ages_from(state, "ages"),
            cold_load_seconds=number_or_none(state, "cold_load_seconds"),
            warm_load_seconds=number_or_none(state, "warm_load_seconds"),
            service_seconds=number_or_none(state, "service_seconds"),
            gaps=deque(numbers(state, "gaps") if "gaps" in state else (), KEPT_GAPS),  # older states have none
            client_weight=number_or_none(state, "client_weight"),  # None too where an earlier keepwarm wrote it
            contexts=Contexts.from_state(mapping(state, "contexts")) if "contexts" in state else Contexts(),
        )

    def _uses_left(self, now: float) -> float:
        """The faded count of arrivals as it stands now."""
        return self.uses * exp(-self.idle_seconds(now) / _DAY_SECONDS)
