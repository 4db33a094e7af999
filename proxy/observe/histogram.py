"""A histogram as prometheus_client shows one, counted without its locks: each observation costs a quarter.

Only one thread observes. Others may read meanwhile: what they miss of the last observation, the next scrape shows.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from itertools import accumulate
from math import inf
from typing import TYPE_CHECKING

from prometheus_client.core import Exemplar, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prometheus_client import CollectorRegistry, Metric


class Bars:
    """What was observed with the same labels: how often in each bucket, and the sum."""

    __slots__ = ("_bounds", "_counts", "_exemplars", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Begin at 0; `bounds` are the buckets' upper ones, ascending, the last infinite."""
        self._bounds = bounds
        self._counts = [0] * len(bounds)
        self._sum = 0.0
        self._exemplars: dict[int, Exemplar] = {}

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """Count an amount; the exemplar, if any, replaces that of its bucket."""
        index = bisect_left(self._bounds, amount)
        self._counts[index] += 1
        self._sum += amount
        if exemplar is not None:
            self._exemplars[index] = Exemplar(exemplar, amount, time.time())

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """Add what was observed to a family that is being collected, under these labels."""
        buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
        for index, (bound, count) in enumerate(zip(self._bounds, accumulate(self._counts), strict=True)):
            exemplar, upper = self._exemplars.get(index), floatToGoString(bound)  # type: ignore[no-untyped-call]
            buckets.append((upper, count) if exemplar is None else (upper, count, exemplar))
        family.add_metric(labels, buckets, self._sum)


class Histogram(Collector):
    """A family of them, by labels."""

    def __init__(
        self, name: str, meaning: str, labels: Sequence[str], registry: CollectorRegistry, buckets: Sequence[float]
    ) -> None:
        """Register it. `buckets` are their upper bounds, ascending; the infinite one is added."""
        self._name, self._meaning, self._label_names = name, meaning, labels
        self._bounds = (*buckets, inf)
        self._bars: dict[tuple[str, ...], Bars] = {}
        registry.register(self)

    def labels(self, *values: str) -> Bars:
        """Return what is observed with these values, in the order of the label names; it begins at 0."""
        return self._bars.setdefault(values, Bars(self._bounds))

    def describe(self) -> Iterator[Metric]:
        """Yield the one family, empty: so the registry refuses a second one of its name."""
        yield self._family()

    def collect(self) -> Iterator[Metric]:
        """Yield the one family."""
        family = self._family()
        for values, bars in tuple(self._bars.items()):  # there may be more of them before this is over
            bars.add_to(family, values)
        yield family

    def _family(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(self._name, self._meaning, labels=self._label_names)
