"""Models, runner options and settings as the simulated scheduler knows them; values only, nothing happens here."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1 << 30
FOREVER_SECONDS = (2**63 - 1) / 1e9
"""What Ollama makes of a negative keep_alive: the longest Go duration, 292 years."""

_MIN_CONTEXT = 4
_DEFAULT_BATCH = 512


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model as the scheduler sees it.

    Attributes:
        name: Canonical name, tag included, as `/api/ps` shows it.
        weights: Digest of the weights file. Two names with the same weights are one loaded model; among models of equal
            keep_alive the smallest digest is evicted first.
        file_bytes: Size of the weights file, which is also what it takes of the GPU before any context.
        load_seconds: Time from the start of a load to its end.
        kv_bytes_per_token: GPU memory per token of context that a runner takes beside the weights.
        predicted_kv_bytes_per_token: The same as Ollama's formula has it, which is what lets a model in beside others.
        context_limit: Context the model was trained with; a larger num_ctx is cut down to it.
        blocks: Layers without the output layer: a num_gpu of 1 … blocks leaves something on the CPU.
        embedding: True if it only embeds: such a model serves one request at a time.
    """

    name: str
    weights: str
    file_bytes: int
    load_seconds: float
    kv_bytes_per_token: int = 0
    predicted_kv_bytes_per_token: int = 0
    context_limit: int = 1 << 17
    blocks: int = 32
    embedding: bool = False

    def __post_init__(self) -> None:
        if self.file_bytes <= 0 or self.load_seconds < 0:
            raise ValueError(f"{self.name}: file_bytes must be > 0 and load_seconds >= 0")

    def predicted_bytes(self, tokens: int) -> int:
        """What Ollama predicts this model to need with `tokens` of context over all parallel requests."""
        return self.file_bytes + self.predicted_kv_bytes_per_token * tokens

    def needed_bytes(self, tokens: int) -> int:
        """What it does need."""
        return self.file_bytes + self.kv_bytes_per_token * tokens

    def __deepcopy__(self, memo: dict[int, object]) -> ModelSpec:
        return self  # immutable: copies of a scheduler share it


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """The options of a request that a runner is started with; None is what Ollama chooses by itself."""

    num_ctx: int | None = None
    num_batch: int | None = None
    num_gpu: int | None = None
    main_gpu: int | None = None
    use_mmap: bool | None = None
    num_thread: int | None = None
    shift: bool | None = None

    def fixed(self) -> tuple[int, int | None, bool | None, int, bool]:
        """Everything that must be the same for a loaded runner to serve, apart from num_ctx and num_gpu."""
        return (
            self.num_batch or _DEFAULT_BATCH,
            self.main_gpu,
            self.use_mmap,
            self.num_thread or 0,
            self.shift is not False,
        )

    def __deepcopy__(self, memo: dict[int, object]) -> RunnerOptions:
        return self  # immutable: copies of a scheduler share it


AUTOMATIC = RunnerOptions()


@dataclass(frozen=True, slots=True)
class SchedulerOptions:
    """Settings of the simulated Ollama, named after its environment variables.

    Attributes:
        gpu_bytes: Total memory of the one discrete GPU.
        max_loaded_models: OLLAMA_MAX_LOADED_MODELS (3 per GPU is Ollama's own default).
        default_keep_alive_seconds: OLLAMA_KEEP_ALIVE, for cold loads whose request has none.
        num_parallel: OLLAMA_NUM_PARALLEL, requests that one loaded model serves at a time.
        max_queue: OLLAMA_MAX_QUEUE, cold requests that may wait; one more is refused.
        driver_lag_seconds: How long the driver still counts the memory of a runner that has ended.
    """

    gpu_bytes: int
    max_loaded_models: int = 3
    default_keep_alive_seconds: float = 300.0
    num_parallel: int = 1
    max_queue: int = 512
    driver_lag_seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.gpu_bytes <= 0 or self.max_loaded_models < 1 or self.num_parallel < 1 or self.max_queue < 1:
            raise ValueError("gpu_bytes, max_loaded_models, num_parallel and max_queue must be at least 1")
        if self.driver_lag_seconds < 0:
            raise ValueError(f"driver_lag_seconds must be >= 0, got {self.driver_lag_seconds}")

    @property
    def automatic_context(self) -> int:
        """The num_ctx of requests that name none: by the GPU's memory, as `server/routes.go` does."""
        if self.gpu_bytes >= 47 * GIB:
            return 262144
        return 32768 if self.gpu_bytes >= 23 * GIB else 4096

    def context(self, options: RunnerOptions, spec: ModelSpec) -> int:
        """Tokens of context that a runner for `spec` gets."""
        wanted = self.automatic_context if options.num_ctx is None else max(options.num_ctx, _MIN_CONTEXT)
        return min(wanted, spec.context_limit)

    def parallel(self, spec: ModelSpec) -> int:
        """Requests that a runner for `spec` serves at a time."""
        return 1 if spec.embedding else self.num_parallel
