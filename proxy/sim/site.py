"""What the handlers of one simulated Ollama share: its settings, models, machine and faults; answers nothing itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.sim.ask import ApiError
from proxy.sim.catalog import DEFAULT_MODELS, MIB, SimModel
from proxy.sim.models import SchedulerOptions
from proxy.sim.names import InvalidNameError, ModelName, is_cloud, parse_name

if TYPE_CHECKING:
    from proxy.sim.ask import Ask
    from proxy.sim.catalog import Catalog, Entry
    from proxy.sim.faults import Faults
    from proxy.sim.machine import Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedOllamaOptions:
    """How a simulated Ollama is set up.

    Attributes:
        models: What it has.
        gpu_mib: Memory of its GPU.
        load_mib_per_second: Load speed; a load takes `load_overhead_seconds` beside that.
        load_overhead_seconds: See there.
        tokens_per_second: Speed of generation.
        prompt_tokens_per_second: Speed of reading, and of embedding.
        answer_tokens: Length of an answer, unless num_predict is less.
        max_loaded_models: OLLAMA_MAX_LOADED_MODELS.
        default_keep_alive_seconds: OLLAMA_KEEP_ALIVE.
        num_parallel: OLLAMA_NUM_PARALLEL.
        max_queue: OLLAMA_MAX_QUEUE.
        driver_lag_seconds: How long the driver still counts the memory of a runner that has ended.
        speed: Virtual seconds per real second. All durations above and all that it tells are virtual seconds.
        seed: Of what Ollama leaves to chance.
        version: What /api/version says.
    """

    models: tuple[SimModel, ...] = DEFAULT_MODELS
    gpu_mib: int = 24576
    load_mib_per_second: float = 4096.0
    load_overhead_seconds: float = 0.25
    tokens_per_second: float = 100.0
    prompt_tokens_per_second: float = 5000.0
    answer_tokens: int = 32
    max_loaded_models: int = 3
    default_keep_alive_seconds: float = 300.0
    num_parallel: int = 1
    max_queue: int = 512
    driver_lag_seconds: float = 0.0
    speed: float = 1.0
    seed: int = 0
    version: str = "0.32.15"

    def __post_init__(self) -> None:
        speeds = (self.load_mib_per_second, self.tokens_per_second, self.prompt_tokens_per_second, self.speed)
        if min(speeds) <= 0 or self.answer_tokens < 1:
            raise ValueError("speeds must be > 0, and an answer has at least 1 token")

    def scheduler_options(self) -> SchedulerOptions:
        """The part that the scheduler needs."""
        return SchedulerOptions(
            gpu_bytes=self.gpu_mib * MIB,
            max_loaded_models=self.max_loaded_models,
            default_keep_alive_seconds=self.default_keep_alive_seconds,
            num_parallel=self.num_parallel,
            max_queue=self.max_queue,
            driver_lag_seconds=self.driver_lag_seconds,
        )


@dataclass(frozen=True, slots=True)
class Site:
    """One simulated Ollama, as its handlers see it."""

    options: SimulatedOllamaOptions
    catalog: Catalog
    machine: Machine
    faults: Faults

    def find(self, ask: Ask) -> Entry:
        """The model that a request names.

        Raises:
            ApiError: Each of Ollama's handlers has its own answer to a name that is missing, wrong or unknown.
        """
        raw = ask.model.strip()
        if not raw:
            raise ApiError(*_MISSING[ask.verb])
        if is_cloud(raw):
            raise ApiError(403, "ollama cloud is disabled: remote model is unavailable", plain=True)
        entry = self.catalog.find(valid_name(raw))
        if entry is None:
            text = (
                f"model '{raw}' not found"
                if ask.verb in _CHATTING
                else f'model "{raw}" not found, try pulling it first'
            )
            raise ApiError(404, text)
        return entry


_CHATTING = ("generate", "chat")
_MISSING = {
    "generate": (404, "model '' not found"),
    "embed": (404, "model '' not found"),
    "chat": (400, "model is required"),
    "embeddings": (400, "model is required"),
}


def valid_name(raw: str) -> ModelName:
    """The name that `raw` stands for.

    Raises:
        ApiError: 400.
    """
    try:
        return parse_name(raw)
    except InvalidNameError:
        raise ApiError(400, "invalid model name") from None
