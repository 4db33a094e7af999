"""What is compared: the machine, and who decides what stays in its memory. Values only, nothing happens here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.domain.settings import EngineSettings
    from proxy.policy import Policy

FOREVER_SECONDS = -1.0
"""A keep_alive without end, as Ollama reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSpec:
    """The GPU, its driver, and the settings of the Ollama on it.

    Attributes:
        gpu_bytes: memory of the one GPU.
        max_models: OLLAMA_MAX_LOADED_MODELS. keepwarm is not told: `EngineSettings.max_models` is what it believes.
        num_parallel: OLLAMA_NUM_PARALLEL. Far above Ollama's own 1, so that nobody waits for another's answer and all
            waiting is for models.
        max_queue: OLLAMA_MAX_QUEUE.
        driver_lag_seconds: how long the driver still counts the memory of a model that has left.
        driver_told: whether keepwarm can read the GPU's memory; if not, it goes by its settings.
    """

    gpu_bytes: int
    max_models: int = 3
    num_parallel: int = 256
    max_queue: int = 512
    driver_lag_seconds: float = 0.0
    driver_told: bool = False


@dataclass(frozen=True, slots=True)
class Direct:
    """Clients talk to Ollama, whose OLLAMA_KEEP_ALIVE is this, in seconds; negative: for ever."""

    keep_alive_seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class Managed:
    """Clients talk to keepwarm.

    Attributes:
        settings: its settings.
        policy: stands in for the one that they name.
        watch: called with the name of the model and the time of each request, before anything is decided about it: for
            policies of others that remember more than keepwarm shows them.
    """

    settings: EngineSettings
    policy: Policy | None = None
    watch: Callable[[str, float], None] | None = None


Contender = Direct | Managed
