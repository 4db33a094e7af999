"""What a request says about its model, and what is known of the model itself. Never does I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

JsonScalar = str | int | float | bool | None

RUNNER_OPTIONS = frozenset({"num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread"})
"""Keys of a request's `options` that belong to the loaded runner: another value makes Ollama reload the model."""

_DEFAULT_NAMESPACES = ("registry.ollama.ai/", "library/")


def canonical(name: str) -> str:
    """Return the one spelling of a model name: lower case, default namespaces dropped, tag included.

    `llama3.2`, `Llama3.2:latest` and `library/llama3.2` are one model to Ollama (server: model.ParseName).
    """
    name = name.strip().lower()
    for namespace in _DEFAULT_NAMESPACES:
        name = name.removeprefix(namespace)
    has_tag = ":" in name.rsplit("/", 1)[-1]
    return name if has_tag else f"{name}:latest"


def runs_elsewhere(model: str) -> bool:
    """Tell whether the canonical name is of a cloud model, which never occupies this upstream's memory."""
    return model.endswith((":cloud", "-cloud"))


class Endpoint(StrEnum):
    """The endpoints that run a model; the value is the path."""

    GENERATE = "/api/generate"
    CHAT = "/api/chat"
    EMBED = "/api/embed"
    EMBEDDINGS = "/api/embeddings"
    V1_CHAT = "/v1/chat/completions"
    V1_COMPLETIONS = "/v1/completions"
    V1_EMBEDDINGS = "/v1/embeddings"
    V1_RESPONSES = "/v1/responses"
    V1_MESSAGES = "/v1/messages"

    carries_keep_alive: bool
    """The OpenAI and Anthropic endpoints drop keep_alive and the runner options."""

    def __init__(self, path: str) -> None:
        self.carries_keep_alive = path.startswith("/api/")


class RunnerOptions(NamedTuple):
    """The options that a runner is started with, in a canonical order, so that equal ones compare equal."""

    values: tuple[tuple[str, JsonScalar], ...] = ()
    shift: bool | None = None

    @property
    def num_ctx(self) -> int | None:
        """Context length in tokens that was asked for; None: Ollama's automatic choice."""
        value = dict(self.values).get("num_ctx") if self.values else None
        return value if isinstance(value, int) and not isinstance(value, bool) else None


class ModelRequest(NamedTuple):
    """A request that runs a model, as its body says it.

    Attributes:
        model: canonical name.
        keep_alive: what the client asked for in seconds; negative: for ever; None: it did not ask.
        is_unload: an empty generate or chat with keep_alive 0, as `ollama stop` sends it.
    """

    model: str
    endpoint: Endpoint
    options: RunnerOptions = RunnerOptions()
    keep_alive: float | None = None
    is_unload: bool = False


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What Ollama tells of a model before it was ever loaded (`/api/tags`, `/api/show`).

    Attributes:
        model: canonical name.
        weights: identity of the weights file; two names with the same one are one loaded model.
        file_bytes: size of the weights file.
        kv_bytes_per_token: key-value cache per token of context, 2·layers·kv_heads·head_dim·2 bytes; 0: not known.
        train_context: longest context that the model was made for, in tokens; 0: not known.
        default_num_ctx: num_ctx of its Modelfile; None: automatic.
        embedding_only: refuses `/api/generate`, is loaded through `/api/embed`.
    """

    model: str
    weights: str
    file_bytes: int
    kv_bytes_per_token: int = 0
    train_context: int = 0
    default_num_ctx: int | None = None
    embedding_only: bool = False

    def __post_init__(self) -> None:
        """Refuse sizes that no model can have."""
        if self.file_bytes < 0 or self.kv_bytes_per_token < 0:
            msg = f"sizes must be >= 0 bytes, got {self.file_bytes} and {self.kv_bytes_per_token} for {self.model}"
            raise ValueError(msg)

    def estimated_bytes(self, num_ctx: int | None, automatic_num_ctx: int) -> int:
        """Memory that the loaded model will take, by Ollama's own formula: weights + context · kv_bytes_per_token."""
        context = num_ctx or self.default_num_ctx or automatic_num_ctx
        if self.train_context:
            context = min(context, self.train_context)
        return self.file_bytes + context * self.kv_bytes_per_token


def automatic_num_ctx(total_bytes: int | None) -> int:
    """Context that Ollama 0.32 gives a model whose num_ctx nobody set: by the GPU memory there is, in tokens."""
    gib = (total_bytes or 0) / 2**30
    return 262_144 if gib >= 47 else 32_768 if gib >= 23 else 4_096  # noqa: PLR2004 - Ollama's own thresholds


class ObservedResident(NamedTuple):
    """One line of `/api/ps`.

    Attributes:
        model: canonical name.
        bytes: memory of the whole model.
        vram_bytes: the part of it that is on the GPU; less than `bytes`: it spilled to main memory.
        context_length: tokens; 0: not told.
        expires_at: unix seconds of the upstream's clock; infinity: never.
        weights: identity of its weights file as in ModelFacts; empty: not known.
    """

    model: str
    bytes: int
    vram_bytes: int
    context_length: int = 0
    expires_at: float = math.inf
    weights: str = ""

    @property
    def spilled_bytes(self) -> int:
        """What did not fit on the GPU."""
        return max(0, self.bytes - self.vram_bytes)
