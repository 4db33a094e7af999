"""What a request wants of a model, and the pieces of its answer, the same for all nine endpoints; serves nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from proxy.sim.models import AUTOMATIC, RunnerOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

_INTEGER_OPTIONS = ("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread")


class ApiError(Exception):
    """An answer that is an error.

    Attributes:
        status: HTTP status.
        message: Its text, as Ollama has it.
        plain: It has the shape of Ollama's own API whatever API was called.
    """

    def __init__(self, status: int, message: str, *, plain: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.plain = plain


@dataclass(frozen=True, slots=True)
class Ask:
    """What a client wants of a model.

    Attributes:
        model: The name as the client wrote it.
        verb: Which of Ollama's handlers it comes to: `generate`, `chat`, `embed` or `embeddings`.
        texts: What the model is to read; empty means that it is only to be loaded.
        keep_alive_seconds: None if the request carries none.
        options: Its `options`, of which the runner's matter.
        shift: Its `shift`.
        stream: Whether the answer comes token by token.
        dimensions: Length of the vectors that are asked for; 0 is the model's own.
    """

    model: str
    verb: str
    texts: tuple[str, ...] = ()
    keep_alive_seconds: float | None = None
    options: dict[str, Any] = field(default_factory=dict)
    shift: bool | None = None
    stream: bool = False
    dimensions: int = 0

    @property
    def prompt_tokens(self) -> int:
        """About as many as the model has to read."""
        return sum(len(text) // 4 + 1 for text in self.texts)

    @property
    def num_predict(self) -> int:
        """At most so many tokens may be generated; below 1: as many as the model likes."""
        value = self.options.get("num_predict")
        return int(value) if isinstance(value, int | float) else -1


@dataclass(frozen=True, slots=True)
class Timings:
    """What the last piece of an answer tells: seconds of virtual time, and counts of tokens."""

    total_seconds: float
    load_seconds: float
    prompt_tokens: int
    prompt_seconds: float
    tokens: int
    eval_seconds: float

    def native(self) -> dict[str, int]:
        """The fields of a native answer: nanoseconds, and nothing that is 0."""
        values = {
            "total_duration": int(self.total_seconds * 1e9),
            "load_duration": int(self.load_seconds * 1e9),
            "prompt_eval_count": self.prompt_tokens,
            "prompt_eval_duration": int(self.prompt_seconds * 1e9),
            "eval_count": self.tokens,
            "eval_duration": int(self.eval_seconds * 1e9),
        }
        return {name: value for name, value in values.items() if value}


NO_TIMINGS = Timings(0, 0, 0, 0, 0, 0)


class Piece(NamedTuple):
    """One token of an answer, its end (with a `done_reason`), or all of it."""

    model: str
    text: str
    done_reason: str = ""
    timings: Timings = NO_TIMINGS


class Dialect(Protocol):
    """How one API writes the answer to one request."""

    content_type: str
    """Of a streamed answer."""

    def whole(self, piece: Piece) -> dict[str, Any]:
        """The body of an answer that is not streamed."""

    def chunks(self, piece: Piece) -> Iterator[bytes]:
        """What a streamed answer says for one piece."""


class Api(Protocol):
    """One API: how its requests are read and its errors are written."""

    def read(self, body: bytes) -> tuple[Ask, Dialect]:
        """What a request wants, and how its answer is to be written.

        Raises:
            ApiError: 400.
        """

    def error(self, error: ApiError) -> dict[str, Any]:
        """The body of an error."""


def runner_options(ask: Ask, num_ctx: int | None) -> RunnerOptions:
    """The options that the runner for a request must have.

    Args:
        ask: The request.
        num_ctx: The model's own, for requests that name none.

    Raises:
        ApiError: 500, as Ollama has it, if one is no number.
    """
    read: dict[str, Any] = {"num_ctx": num_ctx, "shift": ask.shift}
    for name in _INTEGER_OPTIONS:
        value = ask.options.get(name)
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ApiError(500, f'option "{name}" must be of type integer')
            read[name] = int(value)
    if isinstance(ask.options.get("use_mmap"), bool):
        read["use_mmap"] = ask.options["use_mmap"]
    runner = RunnerOptions(**read)
    return AUTOMATIC if runner == AUTOMATIC else runner
