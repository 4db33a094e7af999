"""Requests for ids that carry no model yet, and the models that are drawn for them. Reads no file."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.sim.replay.rows import TraceError
from proxy.sim.replay.workload import Arrival, Workload, WorkloadModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Trace:
    """Who was asked for when.

    Attributes:
        name: what it is called in reports.
        ids: what the arrivals' `model` points to: a publisher's anonymous ids, or names of models.
        arrivals: in the order of time, from 0 s on.
    """

    name: str
    ids: tuple[str, ...]
    arrivals: tuple[Arrival, ...]

    @classmethod
    def of(cls, name: str, requests: Iterable[tuple[float, str, float]]) -> Trace:
        """Put requests (seconds, id, service seconds) in the order of time and begin with 0 s.

        Raises:
            TraceError: there are none.
        """
        ordered = sorted(requests)
        if not ordered:
            raise TraceError(f"{name}: expected at least one request (got none)")
        ids = tuple(sorted({identity for _, identity, _ in ordered}))
        index = {identity: number for number, identity in enumerate(ids)}
        start = ordered[0][0]
        return cls(name, ids, tuple(Arrival(at - start, index[identity], service) for at, identity, service in ordered))


@dataclass(frozen=True, slots=True)
class Assignment:
    """How models are drawn for the ids of a trace.

    Attributes:
        catalogue: the models to draw from, with equal chances, each as often as it comes.
        gpu_bytes: only models that fit into it are drawn: nobody uses daily what spills.
        max_ids: of more ids, so many are drawn and the requests of the others left out: no lone GPU serves a hundred.
    """

    catalogue: tuple[WorkloadModel, ...]
    gpu_bytes: int
    max_ids: int

    def of(self, trace: Trace, seed: int) -> Workload:
        """Draw a model for each id; the same seed gives the same ones. Each id stands for a model of its own.

        Raises:
            TraceError: no model of the catalogue fits.
        """
        fitting = [model for model in self.catalogue if model.bytes <= self.gpu_bytes]
        if not fitting:
            raise TraceError(f"{trace.name}: none of {len(self.catalogue)} models fits into {self.gpu_bytes} bytes")
        dice = random.Random(f"{trace.name}/{seed}")  # noqa: S311 - a repeatable experiment, not a secret
        chosen = sorted(dice.sample(range(len(trace.ids)), min(self.max_ids, len(trace.ids))))
        index = {identity: number for number, identity in enumerate(chosen)}
        models = [_renamed(dice.choice(fitting), trace.ids[identity]) for identity in chosen]
        kept = (arrival for arrival in trace.arrivals if arrival.model in index)
        return Workload(tuple(models), tuple(Arrival(a.at, index[a.model], a.service_seconds) for a in kept))


@dataclass(frozen=True, slots=True)
class DrawnModels:
    """Workloads from a trace file: what the trace leaves open and the models of its ids are drawn by the seed.

    Attributes:
        read: reads the file, given a seed.
        path: the file.
        assignment: how models are drawn.
    """

    read: Callable[[Path, int], Trace]
    path: Path
    assignment: Assignment

    def of(self, seed: int) -> Workload:
        """Make the workload of this seed.

        Raises:
            TraceError: the file cannot be read.
        """
        return self.assignment.of(self.read(self.path, seed), seed)


def _renamed(model: WorkloadModel, identity: str) -> WorkloadModel:
    family, _, tag = model.name.partition(":")
    return WorkloadModel(f"{family}-{identity}:{tag or 'latest'}".lower(), model.bytes, model.load_seconds)


@dataclass(frozen=True, slots=True)
class KnownModels:
    """Workloads from a trace whose ids are names of models.

    Attributes:
        trace: the requests.
        known: models by their names. A name that is missing here gets a model drawn by the seed.
        catalogue: the models to draw from.
        gpu_bytes: what is drawn fits into it.
    """

    trace: Trace
    known: tuple[WorkloadModel, ...]
    catalogue: tuple[WorkloadModel, ...]
    gpu_bytes: int

    @property
    def unknown(self) -> tuple[str, ...]:
        """The names that models are drawn for."""
        names = {model.name for model in self.known}
        return tuple(name for name in self.trace.ids if name not in names)

    def of(self, seed: int) -> Workload:
        """Make the workload of this seed: the same for all of them, if every model is known.

        Raises:
            TraceError: a model is to be drawn, and none of the catalogue fits.
        """
        by_name = {model.name: model for model in self.known}
        drawn = Assignment(self.catalogue, self.gpu_bytes, len(self.trace.ids)).of(self.trace, seed).models
        models = tuple(
            by_name.get(name) or WorkloadModel(name, model.bytes, model.load_seconds)
            for name, model in zip(self.trace.ids, drawn, strict=True)
        )
        return Workload(models, self.trace.arrivals)
