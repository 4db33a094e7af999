"""What happened: the only input of the engine. Every event carries its time, unix seconds of a steady clock.

What is made for each request, each look or tick is a NamedTuple: a frozen dataclass takes three times as long to build.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.domain.access import KEYLESS

if TYPE_CHECKING:
    from proxy.domain.model import ModelFacts, ModelRequest, ObservedResident
    from proxy.domain.settings import EngineSettings


class Ending(StrEnum):
    """How a request ended, seen from the proxy."""

    ANSWERED = "answered"
    CLIENT_GONE = "client_gone"
    UPSTREAM_ERROR = "upstream_error"


class AnswerFigures(NamedTuple):
    """Figures of Ollama's last object, in seconds and tokens; None where the answer did not tell."""

    load_seconds: float | None = None
    prompt_tokens: int | None = None
    prompt_seconds: float | None = None
    generated_tokens: int | None = None
    generation_seconds: float | None = None

    @property
    def reload_seconds(self) -> float:
        """What Ollama loaded for this request: up to 0.2 s go by until it finds a model that is loaded."""
        return self.load_seconds if self.load_seconds is not None and self.load_seconds > _FINDING_SECONDS else 0.0


_FINDING_SECONDS = 0.2
_NO_FIGURES = AnswerFigures()


class RequestArrived(NamedTuple):
    """A model request is there; `facts` is None where Ollama does not know the model or could not be asked."""

    at: float
    request_id: int
    request: ModelRequest
    facts: ModelFacts | None
    client: str = KEYLESS


class RequestEnded(NamedTuple):
    """The request is over, in whatever phase it was.

    Attributes:
        started_at: when the first byte of the answer's body came from upstream, unix seconds; None: none came.
    """

    at: float
    request_id: int
    ending: Ending
    status: int = 0
    figures: AnswerFigures = _NO_FIGURES
    started_at: float | None = None


@dataclass(frozen=True, slots=True)
class LoadEnded:
    """Our own load is over after `seconds`; error None: the model is loaded."""

    at: float
    model: str
    seconds: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class UnloadEnded:
    """Our own unload is over; error None: `/api/ps` no longer shows the model."""

    at: float
    model: str
    seconds: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class TouchEnded:
    """Our own touch is over; error None: Ollama took it."""

    at: float
    model: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """The memory of what was unloaded is free, as far as can be known."""

    at: float


class ResidentsObserved(NamedTuple):
    """`/api/ps` answered what it was asked at `asked_at`."""

    at: float
    asked_at: float
    residents: tuple[ObservedResident, ...]


@dataclass(frozen=True, slots=True)
class ResidentsUnknown:
    """`/api/ps` did not answer, or not sensibly: until it does, requests pass as they come."""

    at: float
    reason: str


ABOUT_RESIDENTS: Final = (ResidentsObserved, ResidentsUnknown)


@dataclass(frozen=True, slots=True)
class MemoryObserved:
    """The driver told the GPU memory of this machine, in bytes over all GPUs."""

    at: float
    total_bytes: int
    free_bytes: int
    gpus: int
    source: str


class Tick(NamedTuple):
    """The time that the engine asked to be woken at has come."""

    at: float


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    """The settings file was saved with valid content."""

    at: float
    settings: EngineSettings


@dataclass(frozen=True, slots=True)
class PassthroughEnded:
    """A request that ran no model, or was refused, is over after `seconds`; `path` is its own, without the query.

    `status` is the HTTP status that the client got; 0: none.
    """

    at: float
    method: str
    path: str
    status: int
    ending: Ending
    seconds: float


Event = (  # what the engine handles
    RequestArrived
    | RequestEnded
    | LoadEnded
    | UnloadEnded
    | TouchEnded
    | Settled
    | ResidentsObserved
    | ResidentsUnknown
    | MemoryObserved
    | Tick
    | SettingsChanged
)

Happening = Event | PassthroughEnded
"""What the observers are told; what decides nothing, the engine does not hear of."""
