"""What one person asks of an Ollama at home: a made-up but repeatable workload. Claims to be nobody in particular.

A person has three projects, each with two or three models that take turns: a main one, a helper, and often an embedder
or another small one. A day has a rhythm: sessions begin mostly in the morning, in the afternoon and in the evening,
hardly at night, and at weekends less often. In a session the person asks, reads for a while, asks again; most requests
go to the main model, and now and then the turn passes to another. Once in a while somebody tries a large model that
takes most of the GPU, asks it a few things, and goes on as before.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import exp, log
from typing import TYPE_CHECKING, Final

from proxy.sim.replay.rows import TraceError
from proxy.sim.replay.workload import Arrival, Workload, WorkloadModel

if TYPE_CHECKING:
    from collections.abc import Iterator

_DAY_SECONDS, _HOUR_SECONDS, _WEEK_DAYS = 86400.0, 3600.0, 7
_SESSIONS_PER_DAY: Final = (7, 7, 7, 7, 7, 3, 3)  # on average, Monday first
_HOUR_WEIGHTS: Final = (1, 0, 0, 0, 0, 0, 1, 3, 6, 9, 9, 7, 4, 6, 9, 9, 7, 5, 3, 4, 6, 7, 5, 3)
_REQUESTS_PER_SESSION: Final = 15
_CHANCE_OF_MAIN: Final = 0.6
_CHANCE_OF_ANOTHER_TURN: Final = 0.3
_CHANCE_OF_LARGE: Final = 0.06
_REQUESTS_TO_LARGE: Final = 4
_PAUSE_MEDIAN_SECONDS, _PAUSE_SIGMA = 45.0, log(3.0)
_SERVICE_SECONDS: Final = 6.0
_PROJECT_WEIGHTS: Final = (5, 3, 2)
_SMALL, _LARGE = 0.12, 0.55


@dataclass(frozen=True, slots=True)
class OnePerson:
    """Makes people up.

    Attributes:
        catalogue: the models that people have; those that do not fit into `gpu_bytes` are left out.
        gpu_bytes: memory of the GPU; at most 12 % of it is small, above 55 % is large.
        days: how long it goes on, from a Monday at midnight.
    """

    catalogue: tuple[WorkloadModel, ...]
    gpu_bytes: int
    days: int = 14

    def of(self, seed: int) -> Workload:
        """Make up a person and what they ask; the same seed gives the same.

        Raises:
            TraceError: the catalogue has no small, no large or no other model that fits.
        """
        dice = random.Random(f"one person/{seed}")  # noqa: S311 - a repeatable experiment, not a secret
        person = _Person(dice, *self._kinds())
        requests = sorted(request for day in range(self.days) for request in person.day(day))
        names = sorted({model.name for _, model, _ in requests})
        index = {name: number for number, name in enumerate(names)}
        by_name = {model.name: model for model in self.catalogue}
        start = requests[0][0] if requests else 0.0
        arrivals = tuple(Arrival(at - start, index[model.name], service) for at, model, service in requests)
        return Workload(tuple(by_name[name] for name in names), arrivals)

    def _kinds(self) -> tuple[list[WorkloadModel], list[WorkloadModel], list[WorkloadModel]]:
        fitting = [(model.bytes / self.gpu_bytes, model) for model in self.catalogue if model.bytes <= self.gpu_bytes]
        small = [model for share, model in fitting if share <= _SMALL]
        middle = [model for share, model in fitting if _SMALL < share <= _LARGE]
        large = [model for share, model in fitting if share > _LARGE]
        if not (small and middle and large):
            raise TraceError(
                f"a person needs small, middle and large models for a GPU of {self.gpu_bytes} bytes,"
                f" got {len(small)}, {len(middle)} and {len(large)}"
            )
        return small, middle, large


class _Person:
    """Somebody with habits: projects, each with the models that take turns in it, the main one first."""

    def __init__(
        self, dice: random.Random, small: list[WorkloadModel], middle: list[WorkloadModel], large: list[WorkloadModel]
    ) -> None:
        self._dice = dice
        self._large = dice.choice(large)
        self._projects = [self._project(small, middle) for _ in _PROJECT_WEIGHTS]

    def day(self, day: int) -> Iterator[tuple[float, WorkloadModel, float]]:
        """What is asked in the sessions of a day: seconds, model, how long it answers."""
        for _ in range(self._count(_SESSIONS_PER_DAY[day % _WEEK_DAYS])):
            [hour] = self._dice.choices(range(24), _HOUR_WEIGHTS)
            yield from self._session(day * _DAY_SECONDS + (hour + self._dice.random()) * _HOUR_SECONDS)

    def _session(self, at: float) -> Iterator[tuple[float, WorkloadModel, float]]:
        dice = self._dice
        if dice.random() < _CHANCE_OF_LARGE:
            models, requests = [self._large], _REQUESTS_TO_LARGE
        else:
            [models] = dice.choices(self._projects, _PROJECT_WEIGHTS)
            requests = _REQUESTS_PER_SESSION
        model = models[0]
        for _ in range(1 + self._count(requests - 1)):
            service = dice.expovariate(1 / _SERVICE_SECONDS)
            yield at, model, service
            at += service + _PAUSE_MEDIAN_SECONDS * exp(dice.gauss(0, _PAUSE_SIGMA))
            if dice.random() < _CHANCE_OF_ANOTHER_TURN:
                model = models[0] if dice.random() < _CHANCE_OF_MAIN else dice.choice(models)

    def _project(self, small: list[WorkloadModel], middle: list[WorkloadModel]) -> list[WorkloadModel]:
        dice = self._dice
        models = dice.sample(middle, min(2, len(middle)))
        return models if dice.random() < 1 / len(_PROJECT_WEIGHTS) else [*models, dice.choice(small)]

    def _count(self, mean: float) -> int:
        """A whole number around a mean: geometric, so that most sessions are short and some are long."""
        count = 0
        while self._dice.random() < mean / (mean + 1):
            count += 1
        return count
