"""The whole settings: what stands at the top, what must hold between sections, and what the engine is given of it.

Never reads a file or the environment.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, Field, PlainSerializer, ValidationInfo, field_validator, model_validator

from proxy.domain.settings import EngineSettings, with_tag
from proxy.settings.access import Access
from proxy.settings.sections import (
    Admin,
    KeepAlive,
    Limits,
    Memory,
    Model,
    Residency,
    Section,
    Server,
    Upstream,
    conflict,
    key,
)
from proxy.settings.telling import Log, Metrics, Store, Tracing
from proxy.settings.values import ContextChoice, Duration, ModelPattern, PolicyName, Precedence, Switch

AFTER_RESTART: Final = (
    *(("server", "listen"), ("server", "shutdown_grace"), ("server", "tls")),
    *(("admin", "listen"), ("admin", "private_network"), ("limits", "header")),
    *(("upstream", "url"), ("upstream", "connect_timeout"), ("tracing", "endpoint")),
    *(("metrics", "max_models"), ("store", "path"), ("store", "retention")),
)
"""The keys whose change takes effect only after a restart: what they describe is made once and open all the time."""


def _section(kind: type[BaseModel]) -> Any:  # noqa: ANN401 - stands for any section
    """Declare a section, which is checked against the others even where it is left out."""
    return Field(default_factory=kind, validate_default=True)


class Settings(Section):
    """All settings of keepwarm: durations in seconds, sizes in bytes, None where `auto` is found out later."""

    server: Server = _section(Server)
    admin: Admin = _section(Admin)
    upstream: Upstream = _section(Upstream)
    limits: Limits = _section(Limits)
    access: Access = _section(Access)
    memory: Memory = _section(Memory)
    residency: Residency = _section(Residency)
    policy: PolicyName = key(
        "adaptive",
        "Who stays in memory, and how long.\n"
        "adaptive: learnt from how each model is used, what it takes to load it, and the price of memory.\n"
        "fixed: everyone stays for keep_alive.max.\n"
        "lru: the same, and where room is needed, the least recently used leaves.",
    )
    keep_alive: KeepAlive = _section(KeepAlive)
    client_keep_alive: Precedence = key(
        "ignore",
        "What becomes of a keep_alive that the client sends. ignore: the policy's wins; respect: the client's wins;\n"
        "at_least: the longer one; at_most: the shorter one. A client's explicit unload is always obeyed.",
    )
    num_ctx: ContextChoice = key(
        "as_asked",
        "Which context length a native request runs with. Ollama reloads a model that is asked for with another one.\n"
        "as_asked: the client's own, else Ollama's. unify: never a smaller one, but one that serves all who asked for\n"
        "this model within a day, if it fits in the budget, so that clients that disagree cause no reloads. Requests\n"
        "through /v1 can't carry a context length: where a model is used through it, Ollama's own is kept if it is\n"
        "large enough.",
    )
    warm_up: Switch = key(
        default=False,
        description="true: with the policy adaptive, a model that is likely to be asked for within seconds is loaded\n"
        "in idle time before it is, where that saves more waiting than it may cost. A model whose last ten such loads\n"
        "were used less than four times is not loaded ahead until that would pay again.",
    )
    max_wait: Duration = key(
        "60s",
        "How long busy models that have to leave admit nothing new for the sake of a model that waits for them.\n"
        "After that they admit once who wanted them meanwhile, so that one endless answer blocks nobody else. It is\n"
        "also the longest that somebody waits for a model at work to have had its turn.",
    )
    models: Annotated[Mapping[ModelPattern, Model], AfterValidator(MappingProxyType), PlainSerializer(dict)] = key(
        {},
        "Exceptions for single models: pattern, then pin, never_keep, min, max, weight, client_keep_alive, num_ctx,\n"
        "warm_up.\n"
        "`*` stands for anything; a name without a tag means every tag of it. Where several patterns match, each\n"
        "key comes from the most specific one that says it: an exact name, then the one with the most characters\n"
        "that are no wildcards, then the first in this file. A pattern that begins with '*' needs quotes.",
    )
    shadow: Switch = key(
        default=True,
        description="Whether what people wait is compared with what they would have waited for Ollama alone, with its\n"
        "own defaults: told by `keepwarm status`, /state and the metrics. It costs some microseconds a request.",
    )
    metrics: Metrics = _section(Metrics)
    store: Store = _section(Store)
    log: Log = _section(Log)
    tracing: Tracing = _section(Tracing)

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
            raise conflict(message, ("admin", "listen"), ("server", "listen"))
        return admin

    @field_validator("upstream")
    @classmethod
    def _is_not_ourselves(cls, upstream: Upstream, info: ValidationInfo) -> Upstream:
        ours = [section.listen for section in (info.data.get("server"), info.data.get("admin")) if section is not None]
        if any(listen.receives(upstream.url) for listen in ours):
            message = f"expected Ollama's own address (got {upstream.url}, where keepwarm itself listens)"
            raise conflict(message, ("upstream", "url"), ("server", "listen"), ("admin", "listen"))
        return upstream

    @field_validator("models")
    @classmethod
    def _patterns_differ(cls, models: Mapping[str, Model]) -> Mapping[str, Model]:
        written: dict[str, str] = {}
        for pattern in models:
            first = written.setdefault(with_tag(pattern), pattern)
            if first != pattern:
                message = f"expected each pattern once (got '{first}' before, which means the same models)"
                raise conflict(message, (pattern,))
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
            client_keep_alive=self.client_keep_alive,
            num_ctx=self.num_ctx,
            warm_up=self.warm_up,
            max_wait_seconds=self.max_wait,
            rules=tuple((pattern, model.rule()) for pattern, model in self.models.items()),
            client_weights=dict(self.access.weights),
        )
