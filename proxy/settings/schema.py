"""Every key of the settings: its kind, its default, what it means, and what must hold between keys.

The descriptions here are the only ones: `config/keepwarm.yaml`, its JSON schema and `docs/settings.md` are written from
them. Never reads a file or the environment.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from proxy.domain.settings import ClientKeepAlive, EngineSettings, ModelRule, with_tag
from proxy.domain.units import exact_duration
from proxy.settings.values import (
    Budget,
    Count,
    CountOrAuto,
    Duration,
    ListenAddress,
    LogFormat,
    LogLevel,
    ModelPattern,
    PolicyName,
    PollingInterval,
    PositiveDuration,
    PositiveSize,
    Precedence,
    Size,
    StorePath,
    Switch,
    UpstreamUrl,
    Weight,
)

AFTER_RESTART: Final = (("server", "listen"), ("admin", "listen"), ("upstream", "url"), ("store", "path"))
"""The keys whose change takes effect only after a restart: what they name is open for as long as keepwarm runs."""


def _key(default: object, description: str) -> Any:  # noqa: ANN401 - stands for any field
    """Declare a key; the default is written as in YAML, and goes the same way as a value from there."""
    return Field(default=default, validate_default=True, description=description)


class Section(BaseModel):
    """Keys that belong together; a section without any content stands for its defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _nothing_means_defaults(cls, data: object) -> object:
        return {} if data is None else data


def _conflict(message: str, *keys: tuple[str, ...]) -> PydanticCustomError:
    """Return the error of keys that contradict each other; it is shown where the first of them is written."""
    return PydanticCustomError("conflict", "{message}", {"message": message, "keys": keys})


def _check_order(shortest: float | None, longest: float | None) -> None:
    if shortest is not None and longest is not None and shortest > longest:
        got = f"min {exact_duration(shortest)} and max {exact_duration(longest)}"
        raise _conflict(f"expected min to be at most max (got {got})", ("min",), ("max",))


class Server(Section):
    """Where clients reach keepwarm."""

    listen: ListenAddress = _key(
        "127.0.0.1:11435",
        "Address that clients use instead of Ollama's; ':11435' listens on every interface.",
    )
    shutdown_grace: Duration = _key("30s", "How long answers in flight may go on after SIGTERM; 0 ends them at once.")


class Admin(Section):
    """Metrics, health, state and reload: apart from the clients' port, and best reachable from this machine only."""

    listen: ListenAddress = _key("127.0.0.1:11436", "Address of /metrics, /healthz, /readyz, /state and POST /reload.")


class Upstream(Section):
    """The Ollama that does the work."""

    url: UpstreamUrl = _key(
        "auto",
        "Address of Ollama, in any form that OLLAMA_HOST takes (host, host:port, URL).\n"
        "auto: the environment's OLLAMA_HOST, else http://127.0.0.1:11434.",
    )
    connect_timeout: PositiveDuration = _key(
        "5s", "How long to try to connect before the client gets a 502; answers themselves have no time limit."
    )


class Limits(Section):
    """What one request may cost."""

    json_body: PositiveSize = _key(
        "512MiB",
        "Largest JSON body of a model request, which is held in memory to be read; a larger one gets a 413.\n"
        "Everything else streams and has no limit.",
    )


class Memory(Section):
    """GPU memory, and what it is worth."""

    budget: Budget = _key(
        "auto",
        "GPU memory that models may take together: a size, never more than the GPU has.\n"
        "auto: what the driver tells (NVIDIA, AMD) where Ollama runs on this machine, less `reserve`;\n"
        "elsewhere learnt from what fits.",
    )
    reserve: Size = _key(
        "512MiB",
        "GPU memory that `budget: auto` leaves alone: the driver, the desktop and each CUDA context take their part\n"
        "without telling Ollama, and a model that misses its place by a little spills and is 5 to 20 times slower.\n"
        "0B where nothing else uses the GPU.",
    )
    max_models: CountOrAuto = _key(
        "auto",
        "Most models loaded at once, as Ollama's OLLAMA_MAX_LOADED_MODELS; set both alike. auto: 3 per GPU, as Ollama.",
    )
    price: Duration = _key(
        "5ms",
        "Waiting that one GiB of idle GPU memory is worth per hour: a model is let go when keeping it costs more\n"
        "than it is likely to save. Thrifty: 50ms. 0: memory is given back only when someone needs it.",
    )
    settle: Duration = _key(
        "500ms",
        "How long to wait after an unload until the driver really has the memory free, where it cannot be asked;\n"
        "grows by itself when a model spills that should have fitted. 0: not at all.",
    )


class Residency(Section):
    """Knowing which models are loaded."""

    poll: PollingInterval = _key(
        "5s", "How often Ollama is asked which models are loaded, besides after each load and unload; at least 100ms."
    )


class KeepAlive(Section):
    """How long an idle model stays loaded; per model under `models`."""

    min: Duration = _key("5m", "Shortest keep_alive that the policy may choose.")
    max: Duration = _key(
        "24h",
        "Longest keep_alive that the policy may choose; with the policies fixed and lru, every model's keep_alive.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        _check_order(self.min, self.max)
        return self


class Model(Section):
    """What holds for the models that a pattern matches; a key that is left out is decided by a more general pattern."""

    pin: Switch | None = _key(None, "true: never evicted, never expires.")
    never_keep: Switch | None = _key(None, "true: unloaded as soon as it is idle.")
    min: Duration | None = _key(None, "Shortest keep_alive, instead of keep_alive.min.")
    max: Duration | None = _key(None, "Longest keep_alive, instead of keep_alive.max.")
    weight: Weight | None = _key(None, "How much worse it is to wait for this model than for others; default 1.")
    client_keep_alive: Precedence | None = _key(None, "As client_keep_alive at the top, for these models.")

    @model_validator(mode="after")
    def _not_contradictory(self) -> Self:
        if self.pin and self.never_keep:
            raise _conflict("expected pin or never_keep, not both (got true for both)", ("never_keep",))
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

    max_models: Count = _key(
        200,
        "Most model names that get labels of their own; all others share one label, so that clients cannot flood it.",
    )


class Store(Section):
    """What is remembered over restarts; never a prompt or an answer."""

    path: StorePath = _key(
        "auto", "SQLite file; '~' is the home folder. auto: keepwarm/usage.sqlite in the user's state directory."
    )
    retention: PositiveDuration = _key("30d", "How long the row that is written per request is kept.")


class Log(Section):
    """What is written to standard error."""

    level: LogLevel = _key("info", "Least important messages to write: debug, info, warning, error.")
    format: LogFormat = _key("text", "text: for people; json: one object a line.")


class Settings(Section):
    """All settings of keepwarm: durations in seconds, sizes in bytes, None where `auto` is found out later."""

    server: Server = Field(default_factory=Server)
    admin: Admin = Field(default_factory=Admin)
    upstream: Upstream = Field(default_factory=Upstream)
    limits: Limits = Field(default_factory=Limits)
    memory: Memory = Field(default_factory=Memory)
    residency: Residency = Field(default_factory=Residency)
    policy: PolicyName = _key(
        "adaptive",
        "Who stays in memory, and how long.\n"
        "adaptive: learnt from how each model is used, what it takes to load it, and the price of memory.\n"
        "fixed: everyone stays for keep_alive.max.\n"
        "lru: the same, and where room is needed, the least recently used leaves.",
    )
    keep_alive: KeepAlive = Field(default_factory=KeepAlive)
    client_keep_alive: Precedence = _key(
        "ignore",
        "What becomes of a keep_alive that the client sends. ignore: the policy's wins; respect: the client's wins;\n"
        "at_least: the longer one; at_most: the shorter one. A client's explicit unload is always obeyed.",
    )
    max_wait: Duration = _key(
        "60s", "Longest time that a request for a model that is not loaded waits for busy ones to become idle."
    )
    models: Annotated[Mapping[ModelPattern, Model], AfterValidator(MappingProxyType), PlainSerializer(dict)] = _key(
        {},
        "Exceptions for single models: pattern, then pin, never_keep, min, max, weight, client_keep_alive.\n"
        "`*` stands for anything; a name without a tag means every tag of it. Where several patterns match, each\n"
        "key comes from the most specific one that says it: an exact name, then the one with the most characters\n"
        "that are no wildcards, then the first in this file. A pattern that begins with '*' needs quotes.",
    )
    metrics: Metrics = Field(default_factory=Metrics)
    store: Store = Field(default_factory=Store)
    log: Log = Field(default_factory=Log)

    @model_validator(mode="before")
    @classmethod
    def _no_models_means_none(cls, data: object) -> object:
        return {**data, "models": {}} if isinstance(data, dict) and data.get("models", {}) is None else data

    @field_validator("admin")
    @classmethod
    def _listens_elsewhere(cls, admin: Admin, info: ValidationInfo) -> Admin:
        server = info.data.get("server")
        if server is not None and admin.listen.overlaps(server.listen):
            message = f"expected another address than server.listen's (got {admin.listen} and {server.listen})"
            raise _conflict(message, ("admin", "listen"), ("server", "listen"))
        return admin

    @field_validator("upstream")
    @classmethod
    def _is_not_ourselves(cls, upstream: Upstream, info: ValidationInfo) -> Upstream:
        ours = [section.listen for section in (info.data.get("server"), info.data.get("admin")) if section is not None]
        if any(listen.receives(upstream.url) for listen in ours):
            message = f"expected Ollama's own address (got {upstream.url}, where keepwarm itself listens)"
            raise _conflict(message, ("upstream", "url"), ("server", "listen"), ("admin", "listen"))
        return upstream

    @field_validator("models")
    @classmethod
    def _patterns_differ(cls, models: Mapping[str, Model]) -> Mapping[str, Model]:
        written: dict[str, str] = {}
        for pattern in models:
            first = written.setdefault(with_tag(pattern), pattern)
            if first != pattern:
                message = f"expected each pattern once (got '{first}' before, which means the same models)"
                raise _conflict(message, (pattern,))
        return models

    def engine(self) -> EngineSettings:
        """Return the part that decisions depend on, as the engine takes it."""
        return EngineSettings(
            policy=self.policy,
            budget_bytes=self.memory.budget,
            reserve_bytes=self.memory.reserve,
            max_models=self.memory.max_models,
            price_seconds_per_gib_hour=self.memory.price,
            settle_seconds=self.memory.settle,
            poll_seconds=self.residency.poll,
            keep_alive_min_seconds=self.keep_alive.min,
            keep_alive_max_seconds=self.keep_alive.max,
            client_keep_alive=ClientKeepAlive(self.client_keep_alive),
            max_wait_seconds=self.max_wait,
            rules=tuple((pattern, model.rule()) for pattern, model in self.models.items()),
        )
