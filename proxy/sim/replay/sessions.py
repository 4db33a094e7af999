"""Sessions over a few models, of which some are liked best: Zipf's law. Sends nothing, reads no file.

The workload of POLICY.md, "Sessions": some requests to one model with short pauses, then a longer pause and another
model, or the same again. LRU is hard to beat on it while three models fit.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.sim.replay.workload import Arrival, Workload

if TYPE_CHECKING:
    from proxy.sim.replay.workload import WorkloadModel

_MODELS: Final = 8
_GOES_ON: Final = 0.75  # so a session has 4 requests on average
_PAUSE_WITHIN: Final = (1.0, 8.0)
_PAUSE_BETWEEN: Final = (5.0, 40.0)
_SMALLEST, _LARGEST = 0.05, 0.3
_MEAN_SERVICE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Sessions:
    """Makes sessions up.

    Attributes:
        catalogue: the models to draw eight from, with the load times of the page cache: in use all the time, they stay
            in it.
        gpu_bytes: memory of the GPU; models that take less than 5 % or more than 30 % of it are left out, so that three
            fit side by side and eight do not.
        requests: how many in all.
    """

    catalogue: tuple[WorkloadModel, ...]
    gpu_bytes: int
    requests: int = 1500

    def of(self, seed: int) -> Workload:
        """Make them up; the same seed gives the same. The first model is asked most, the n-th 1/n times as often."""
        dice = random.Random(f"sessions/{seed}")  # noqa: S311 - a repeatable experiment, not a secret
        fitting = [model for model in self.catalogue if _SMALLEST <= model.bytes / self.gpu_bytes <= _LARGEST]
        models = tuple(dice.sample(fitting, min(_MODELS, len(fitting))))
        weights = [1 / rank for rank in range(1, len(models) + 1)]
        arrivals: list[Arrival] = []
        at = 0.0
        while len(arrivals) < self.requests:
            [model] = dice.choices(range(len(models)), weights)
            while True:
                service = dice.expovariate(1 / _MEAN_SERVICE_SECONDS)
                arrivals.append(Arrival(at, model, service))
                at += service
                if dice.random() > _GOES_ON:
                    break
                at += dice.uniform(*_PAUSE_WITHIN)
            at += dice.uniform(*_PAUSE_BETWEEN)
        return Workload(models, tuple(arrivals[: self.requests]))
