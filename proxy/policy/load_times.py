"""What the loads of all models teach about one that was never loaded: a constant, and so many bytes a second.

Never knows where the files lie: those read from disk and those in the page cache are learnt by two of these.
"""

from collections.abc import Mapping
from itertools import combinations
from statistics import median
from typing import NamedTuple, Self

from proxy.policy.state import State, mapping, number
from proxy.policy.usage import SECONDS_WEIGHT, averaged

PRIOR_CONSTANT_SECONDS, PRIOR_BYTES_PER_SECOND = 1.0, 2.5e9

_MAX_MODELS = 32
_LEAST_RATIO, _LEAST_SLOPES = 1.25, 3
_SLOWEST, _FASTEST = 1e7, 1e11
_LONGEST_CONSTANT_SECONDS = 60.0


class Line(NamedTuple):
    """Seconds that a load takes, by the size of the file."""

    constant_seconds: float
    bytes_per_second: float

    def seconds(self, file_bytes: int) -> float:
        """How long a file of this size takes."""
        return self.constant_seconds + file_bytes / self.bytes_per_second


PRIOR = Line(PRIOR_CONSTANT_SECONDS, PRIOR_BYTES_PER_SECOND)
"""Before any load was seen."""


class LoadTimes:
    """Sizes and average load seconds of the 32 models that were loaded last, and the line through them."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}  # in the order of their loads
        self._line: Line | None = None

    def __bool__(self) -> bool:
        return bool(self._seen)

    def add(self, model: str, file_bytes: int, seconds: float) -> None:
        """Learn from one load of a file of this size, > 0 bytes."""
        _, average = self._seen.pop(model, (0, None))
        self._seen[model] = file_bytes, averaged(average, seconds, SECONDS_WEIGHT)
        while len(self._seen) > _MAX_MODELS:
            del self._seen[next(iter(self._seen))]
        self._line = None

    @property
    def line(self) -> Line:
        """What was learnt; the prior where nothing was."""
        if self._line is None:  # not fitted at each load: most are of models whose own average counts
            self._line = _fitted(list(self._seen.values())) if self._seen else PRIOR
        return self._line

    def to_state(self) -> State:
        """Plain values for JSON."""
        return {model: {"bytes": size, "seconds": seconds} for model, (size, seconds) in self._seen.items()}

    @classmethod
    def from_state(cls, state: Mapping[str, object]) -> Self:
        """Read what `to_state` wrote; ValueError if it is anything else."""
        times = cls()
        for model in state:
            seen = mapping(state, model)
            times.add(model, int(number(seen, "bytes")), number(seen, "seconds"))
        return times


def _fitted(seen: list[tuple[int, float]]) -> Line:
    """Theil and Sen's line, which a quarter of outliers don't bend; of too few or too equal sizes the prior, scaled."""
    slopes = [
        (more_seconds - less_seconds) / (more - less)
        for (less, less_seconds), (more, more_seconds) in combinations(sorted(seen), 2)
        if more >= _LEAST_RATIO * less
    ]
    if len(slopes) >= _LEAST_SLOPES and (slope := median(slopes)) > 0:
        slope = min(1 / _SLOWEST, max(1 / _FASTEST, slope))
        constant = median(seconds - slope * size for size, seconds in seen)
        return Line(min(_LONGEST_CONSTANT_SECONDS, max(0.0, constant)), 1 / slope)
    factor = median(seconds / PRIOR.seconds(size) for size, seconds in seen)
    factor = min(PRIOR_BYTES_PER_SECOND / _SLOWEST, max(PRIOR_BYTES_PER_SECOND / _FASTEST, factor))
    return Line(min(_LONGEST_CONSTANT_SECONDS, PRIOR_CONSTANT_SECONDS * factor), PRIOR_BYTES_PER_SECOND / factor)
