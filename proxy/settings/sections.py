"""The sections of the settings: every key but those at the top, with its kind, its default and what it means.

The descriptions here and in `schema` are the only ones: `config/keepwarm.yaml`, its JSON schema and `docs/settings.md`
are written from them. Never reads a file or the environment.
"""

from importlib.util import find_spec
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from pydantic_core import PydanticCustomError

from proxy.domain.settings import ModelRule
from proxy.domain.units import exact_duration
from proxy.settings.values import (
    Budget,
    Count,
    CountOrAuto,
    Duration,
    ListenAddress,
    LogFormat,
    LogLevel,
    PollingInterval,
    PositiveDuration,
    PositiveSize,
    Precedence,
    Size,
    StorePath,
    Switch,
    TracingEndpoint,
    UpstreamUrl,
    Weight,
)


def key(default: object, description: str) -> Any:  # noqa: ANN401 - stands for any field
    """Declare a key; the default is written as in YAML, and goes the same way as a value from there."""
    return Field(default=default, validate_default=True, description=description)


class Section(BaseModel):
    """Keys that belong together; a section without any content stands for its defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _nothing_means_defaults(cls, data: object) -> object:
        return {} if data is None else data


def conflict(message: str, *keys: tuple[str, ...]) -> PydanticCustomError:
    """Return the error of keys that contradict each other; it is shown where the first of them is written."""
    return PydanticCustomError("conflict", "{message}", {"message": message, "keys": keys})


def _check_order(shortest: float | None, longest: float | None) -> None:
    if shortest is not None and longest is not None and shortest > longest:
        got = f"min {exact_duration(shortest)} and max {exact_duration(longest)}"
        raise conflict(f"expected min to be at most max (got {got})", ("min",), ("max",))


class Server(Section):
    """Where clients reach keepwarm."""

    listen: ListenAddress = key(
        "127.0.0.1:11435",
        "Address that clients use instead of Ollama's; ':11435' listens on every interface.",
    )
    shutdown_grace: Duration = key("30s", "How long answers in flight may go on after SIGTERM; 0 ends them at once.")
    response_headers: Switch = key(
        default=False,
        description="true: models' answers say what keepwarm did: X-Keepwarm-Outcome, -Waited, -Keep-Alive, -Request.",
    )


class Admin(Section):
    """Metrics, health, state and reload: apart from the clients' port, and best reachable from this machine only."""

    listen: ListenAddress = key("127.0.0.1:11436", "Address of /metrics, /healthz, /readyz, /state and POST /reload.")


class Upstream(Section):
    """The Ollama that does the work."""

    url: UpstreamUrl = key(
        "auto",
        "Address of Ollama, in any form that OLLAMA_HOST takes (host, host:port, URL).\n"
        "auto: the environment's OLLAMA_HOST, else http://127.0.0.1:11434.",
    )
    connect_timeout: PositiveDuration = key(
        "5s", "How long to try to connect before the client gets a 502; answers themselves have no time limit."
    )


class Limits(Section):
    """What one request may cost."""

    json_body: PositiveSize = key(
        "512MiB",
        "Largest JSON body of a model request, which is held in memory to be read; a larger one gets a 413.\n"
        "Everything else streams and has no limit.",
    )
    pause: PositiveDuration = key(
        "60s",
        "Longest pause that a client may make in the middle of sending a request; then it gets a 408. Answers, and\n"
        "connections between two requests, have no such limit.",
    )


class Memory(Section):
    """GPU memory, and what it is worth."""

    budget: Budget = key(
        "auto",
        "GPU memory that models may take together: a size, never more than the GPU has.\n"
        "auto: what the driver tells (NVIDIA, AMD) where Ollama runs on this machine, less `reserve`;\n"
        "elsewhere learnt from what fits.",
    )
    reserve: Size = key(
        "512MiB",
        "GPU memory that is left alone where the driver tells how much there is: the driver, the desktop and each\n"
        "CUDA context take their part without telling Ollama, and a model that misses its place by a little spills\n"
        "and is 5 to 20 times slower. 0B where nothing else uses the GPU.",
    )
    max_models: CountOrAuto = key(
        "auto",
        "Most models loaded at once, as Ollama's OLLAMA_MAX_LOADED_MODELS; set both alike. auto: 3 per GPU, as Ollama.",
    )
    price: Duration = key(
        "5ms",
        "Waiting that one GiB of idle GPU memory is worth per hour: a model is let go when keeping it costs more\n"
        "than it is likely to save. Thrifty: 50ms. 0: memory is given back only when someone needs it.",
    )
    settle: Duration = key(
        "500ms",
        "How long to wait after an unload until the driver really has the memory free, where it cannot be asked;\n"
        "grows by itself when a model spills that should have fitted. 0: not at all.",
    )


class Residency(Section):
    """Knowing which models are loaded."""

    poll: PollingInterval = key(
        "5s", "How often Ollama is asked which models are loaded, besides after each load and unload; at least 100ms."
    )


class KeepAlive(Section):
    """How long an idle model stays loaded; per model under `models`."""

    min: Duration = key("5m", "Shortest keep_alive that the policy may choose.")
    max: Duration = key(
        "24h",
        "Longest keep_alive that the policy may choose; with the policies fixed and lru, every model's keep_alive.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        _check_order(self.min, self.max)
        return self


class Model(Section):
    """What holds for the models that a pattern matches; a key that is left out is decided by a more general pattern."""

    pin: Switch | None = key(None, "true: never evicted, and its timer is wound up again.")
    never_keep: Switch | None = key(None, "true: unloaded as soon as it is idle.")
    min: Duration | None = key(None, "Shortest keep_alive, instead of keep_alive.min.")
    max: Duration | None = key(None, "Longest keep_alive, instead of keep_alive.max.")
    weight: Weight | None = key(None, "How much worse it is to wait for this model than for others; default 1.")
    client_keep_alive: Precedence | None = key(None, "As client_keep_alive at the top, for these models.")

    @model_validator(mode="after")
    def _not_contradictory(self) -> Self:
        if self.pin and self.never_keep:
            raise conflict("expected pin or never_keep, not both (got true for both)", ("never_keep",))
        _check_order(self.min, self.max)
        return self

    @model_serializer(mode="wrap")
    def _only_what_is_said(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in write(self).items() if value is not None}

    def rule(self) -> ModelRule:
        """Return these keys as the engine takes them."""
        return ModelRule(
            pin=self.pin,
            never_keep=self.never_keep,
            min_seconds=self.min,
            max_seconds=self.max,
            weight=self.weight,
            client_keep_alive=self.client_keep_alive,
        )


class Metrics(Section):
    """What Prometheus is told."""

    max_models: Count = key(
        200,
        "Most model names that get labels of their own; all others share one label, so that clients cannot flood it.",
    )


class Store(Section):
    """What is remembered over restarts; never a prompt or an answer."""

    path: StorePath = key(
        "auto", "SQLite file; '~' is the home folder. auto: keepwarm/usage.sqlite in the user's state directory."
    )
    retention: PositiveDuration = key("30d", "How long the row that is written per request is kept.")


class Log(Section):
    """What is written to standard error."""

    level: LogLevel = key("info", "Least important messages to write: debug, info, warning, error.")
    format: LogFormat = key("text", "text: for people; json: one object a line.")
    access: Switch = key(default=False, description="true: a line for each request that is over, whatever the level.")


class Tracing(Section):
    """Spans of OpenTelemetry: request, hold, load, upstream; never a prompt or an answer."""

    endpoint: TracingEndpoint = key(
        "none",
        "Where to send them: OTLP over HTTP, such as http://127.0.0.1:4318. Needs the extra keepwarm[otel].\n"
        "OpenTelemetry's own variables say the rest, such as OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER and\n"
        "OTEL_EXPORTER_OTLP_HEADERS.",
    )

    @model_validator(mode="after")
    def _can_be_sent(self) -> Self:
        if self.endpoint is not None and not _is_installed(
            "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"
        ):
            message = (
                f"expected none, or OpenTelemetry to be installed: pip install 'keepwarm[otel]' (got {self.endpoint})"
            )
            raise conflict(message, ("endpoint",))
        return self


def _is_installed(*packages: str) -> bool:
    try:
        return all(find_spec(package) for package in packages)
    except ModuleNotFoundError:  # not even what holds them
        return False
