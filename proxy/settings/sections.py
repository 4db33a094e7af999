"""The sections of the settings: every key but those at the top, with its kind, its default and what it means.

The descriptions here and in `schema` are the only ones: `config/keepwarm.yaml`, its JSON schema and `docs/settings.md`
are written from them. Never reads a file or the environment.
"""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from pydantic_core import PydanticCustomError

from proxy.domain.settings import ModelRule
from proxy.domain.units import exact_duration
from proxy.settings.values import (
    Budget,
    ContextChoice,
    Count,
    CountOrAuto,
    DigestOrNone,
    Duration,
    FileOrNone,
    ListenAddress,
    PollingInterval,
    PositiveDuration,
    PositiveSize,
    Precedence,
    Size,
    Switch,
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


class Tls(Section):
    """HTTPS on the clients' port; new content of the two files is used within seconds, without a restart."""

    certificate: FileOrNone = key(
        "none", "PEM file: the certificate, followed by those between it and a known authority."
    )
    key: FileOrNone = key("none", "PEM file: the certificate's private key, without a passphrase.")

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise conflict("expected both certificate and key, or neither", ("certificate",), ("key",))
        return self


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
    tls: Tls = Field(default_factory=Tls)


class Admin(Section):
    """Metrics, health, state and reload: apart from the clients' port, and best reachable from this machine only."""

    listen: ListenAddress = key("127.0.0.1:11436", "Address of /metrics, /healthz, /readyz, /state and POST /reload.")
    token_sha256: DigestOrNone = key(
        "none",
        "SHA-256 of the token that everything but /healthz and /readyz asks for (`keepwarm key new --admin` makes\n"
        "one). Without it keepwarm refuses to listen where other machines may reach it.",
    )
    private_network: Switch = key(
        False,  # noqa: FBT003 - the value in YAML
        "true: nobody reaches admin.listen who may not use it, though it is no loopback address, and no token is\n"
        "needed: a container's own network, with the port published on 127.0.0.1 or not at all.",
    )

    @property
    def needs_no_token(self) -> bool:
        """Tell whether whoever reaches the port may use it where there is no token."""
        return self.listen.is_loopback or self.private_network

    @model_validator(mode="after")
    def _is_not_open_to_all(self) -> Self:
        if self.token_sha256 is None and not self.needs_no_token:
            message = (
                f"expected an address that only this machine reaches, such as '127.0.0.1:11436', or a token in "
                f"admin.token_sha256 (got {self.listen} and no token); `keepwarm key new --admin` makes one"
            )
            raise conflict(message, ("listen",))
        return self


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
    """What clients may cost."""

    connections: Count = key(4096, "Most connections of clients at once; one more gets a 503.")
    header: PositiveSize = key("64KiB", "Longest request line, and longest header; a longer one gets a 400.")
    waiting: Count = key(
        2048,
        "Most requests that one client (one key, or all without a key) may have waiting for a model; one more gets a\n"
        "429.",
    )

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
        "than it is likely to save. For one person about as thrifty as a timer of 20 hours at 5ms, 10 hours at 20ms,\n"
        "3 hours at 50ms, half an hour at 250ms. 0: memory is given back only when someone needs it.",
    )
    settle: Duration = key(
        "500ms",
        "How long to wait after an unload until the driver really has the memory free, where it cannot be asked;\n"
        "the value to start with: it shrinks while loads fit and grows when one spills. 0: not at all.",
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
    num_ctx: ContextChoice | None = key(None, "As num_ctx at the top, for these models.")
    warm_up: Switch | None = key(None, "false: never loaded ahead of use.")

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
            num_ctx=self.num_ctx,
            warm_up=self.warm_up,
        )
