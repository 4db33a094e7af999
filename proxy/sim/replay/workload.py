"""What is replayed: models and the requests that arrive for them. Says nothing of who decides what stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Arrival(NamedTuple):
    """One request.

    Attributes:
        at: seconds since the workload began, never falling from one arrival to the next.
        model: index into the workload's models.
        service_seconds: how long the model works for it once it is loaded, >= 0.
    """

    at: float
    model: int
    service_seconds: float


@dataclass(frozen=True, slots=True)
class WorkloadModel:
    """A model as Ollama sees it.

    Attributes:
        name: canonical name, unique within the workload.
        bytes: GPU memory that it takes.
        load_seconds: how long a load takes when nothing has to be unloaded first.
    """

    name: str
    bytes: int
    load_seconds: float


@dataclass(frozen=True, slots=True)
class Workload:
    """Models and the requests for them, in the order of time."""

    models: tuple[WorkloadModel, ...]
    arrivals: Sequence[Arrival]
