"""What came of a replay, and the ledger it is summed up in. Decides nothing."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import fsum
from typing import TYPE_CHECKING

from proxy.domain.effects import Cause
from proxy.domain.units import GIB
from proxy.sim.outcomes import Kind, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from proxy.sim.replay.workload import WorkloadModel

_HOUR_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one replay.

    Attributes:
        waits: for each request, in the order of arrival, seconds from its arrival until the model worked on it; of one
            that failed, until it did.
        loads: loads of models, whoever asked for them.
        load_seconds: how long all of them took.
        spills: loads that did not get all their memory on the GPU.
        evicted_by_ollama: models that Ollama chose to unload.
        unloaded_by_us: models that keepwarm unloaded, by cause.
        expired: models that left when Ollama's own timer ran out.
        errors: requests that failed, or were given up after an hour.
        management_failures: loads and unloads of keepwarm's own that failed.
        gib_hours: GPU memory that models held, from the beginning of their loads.
        idle_gib_hours: the part of it while nobody used the model.
        span_seconds: from the start of the workload to the end of its last request.
    """

    waits: array[float]
    loads: int
    load_seconds: float
    spills: int
    evicted_by_ollama: int
    unloaded_by_us: Mapping[Cause, int]
    expired: int
    errors: int
    management_failures: int
    gib_hours: float
    idle_gib_hours: float
    span_seconds: float

    @property
    def requests(self) -> int:
        """How many requests there were."""
        return len(self.waits)

    @property
    def wait_seconds(self) -> float:
        """Seconds waited by all requests together."""
        return fsum(self.waits)

    @property
    def evicted_by_us(self) -> int:
        """Models that keepwarm unloaded to make room, when it was needed or ahead of need."""
        return self.unloaded_by_us.get(Cause.EVICTION, 0) + self.unloaded_by_us.get(Cause.ROOM_AHEAD, 0)


@dataclass(slots=True)
class _Place:
    """One model's share of the memory."""

    model: WorkloadModel
    gib: float
    held_since: float | None = None
    idle_since: float | None = None
    users: int = 0
    taken_by: Cause | None = None
    """Why it is about to leave, if someone decided that; UPSTREAM: Ollama did."""


@dataclass(slots=True)
class _Sums:
    loads: int = 0
    load_seconds: float = 0.0
    spills: int = 0
    errors: int = 0
    management_failures: int = 0
    gib_seconds: float = 0.0
    idle_gib_seconds: float = 0.0
    left: Counter[Cause] = field(default_factory=Counter)


Left = Callable[[str, float, float], None]
"""Told of each residency that is over: the model's name, when its load began, when it left."""


def unnoticed(model: str, since: float, until: float) -> None:
    """Nobody asked."""


class Ledger:
    """Adds up what the simulated Ollama tells, and what becomes of the requests.

    Args:
        models: the workload's models.
        gpu_bytes: no model holds more than this.
        requests: how many there will be.
        left: told of each residency.
    """

    def __init__(self, models: Sequence[WorkloadModel], gpu_bytes: int, requests: int, left: Left) -> None:
        self._left = left
        self.waits = array("d", bytes(8 * requests))
        self._places = {model.name: _Place(model, min(model.bytes, gpu_bytes) / GIB) for model in models}
        self._by_index = tuple(self._places.values())
        self._sums = _Sums()

    def note(self, outcome: Outcome) -> None:
        """Take note of what happened to a model."""
        place, kind, at = self._places[outcome.model], outcome.kind, outcome.at
        if kind is Kind.LOAD_STARTED:
            place.held_since = at
        elif kind is Kind.LOADED:
            self._sums.loads += 1
            self._sums.load_seconds += place.model.load_seconds
            place.idle_since = at
        elif kind is Kind.SPILLED:
            self._sums.spills += 1
        elif kind is Kind.EVICTION:
            place.taken_by = Cause.UPSTREAM
        elif kind is Kind.UNLOADED:
            self._sums.left[place.taken_by or Cause.EXPIRY] += 1
            self._leave(place, at)
        elif kind is Kind.LOAD_ABORTED:
            self._leave(place, at)

    def unloading(self, model: str, cause: Cause) -> None:
        """Take note of why keepwarm is about to unload a model."""
        self._places[model].taken_by = cause

    def started(self, index: int, model: int, waited: float, at: float) -> None:
        """A request's waiting is over: its model works on it."""
        self.waits[index] = waited
        place = self._by_index[model]
        place.users += 1
        if place.idle_since is not None:
            self._sums.idle_gib_seconds += place.gib * (at - place.idle_since)
            place.idle_since = None

    def ended(self, model: int, at: float) -> None:
        """A request that had started is over."""
        place = self._by_index[model]
        place.users -= 1
        if not place.users:
            place.idle_since = at

    def failed(self, index: int, waited: float) -> None:
        """A request failed."""
        self.waits[index] = waited
        self._sums.errors += 1

    def management_failed(self) -> None:
        """A load or unload of keepwarm's own failed."""
        self._sums.management_failures += 1

    def close(self, at: float) -> Result:
        """Sum up: the workload is over."""
        for place in self._by_index:
            self._leave(place, at)
        sums = self._sums
        ollama, expired = sums.left.pop(Cause.UPSTREAM, 0), sums.left.pop(Cause.EXPIRY, 0)
        return Result(
            waits=self.waits,
            loads=sums.loads,
            load_seconds=sums.load_seconds,
            spills=sums.spills,
            evicted_by_ollama=ollama,
            unloaded_by_us=dict(sorted(sums.left.items())),
            expired=expired,
            errors=sums.errors,
            management_failures=sums.management_failures,
            gib_hours=sums.gib_seconds / _HOUR_SECONDS,
            idle_gib_hours=sums.idle_gib_seconds / _HOUR_SECONDS,
            span_seconds=at,
        )

    def _leave(self, place: _Place, at: float) -> None:
        if place.held_since is not None:
            self._sums.gib_seconds += place.gib * (at - place.held_since)
            self._left(place.model.name, place.held_since, at)
        if place.idle_since is not None:
            self._sums.idle_gib_seconds += place.gib * (at - place.idle_since)
        place.held_since = place.idle_since = place.taken_by = None
