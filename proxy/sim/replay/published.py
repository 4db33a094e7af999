"""The published traces of shared/traces, in their publishers' formats. Says nothing of which model an id stands for.

How long a request is served is told by none of them but LMSYS, whose tokens are counted; for the others it is drawn.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy.sim.replay.rows import TraceError, read_rows
from proxy.sim.replay.trace import Trace
from proxy.sim.replay.workload import WorkloadModel

if TYPE_CHECKING:
    from collections.abc import Iterator

AZURE, LMSYS, SERVEGEN, MODELS = (
    "azurefn2019_100apps_24h.csv.gz",
    "lmsys_arena_27models.csv.gz",
    "servegen_24clients_7d.csv.gz",
    "models.csv",
)

BUILT_IN: Final = Path(__file__).with_name("models.csv")

_MINUTE_SECONDS: Final = 60.0
_MEAN_SERVICE_SECONDS: Final = 5.0
_SERVEGEN_SECONDS: Final = 3 * 86400.0
_LMSYS_FACTOR: Final = 144.0  # 600 s of the file are one day
_PROMPT_TOKENS_PER_SECOND: Final = 1000.0
_TOKENS_PER_SECOND: Final = 50.0
_LOADS: Final = {
    "warm": "load_s_warm_6GBps",
    "nvme": "load_s_nvme_2.5GBps",
    "sata": "load_s_sata_0.5GBps",
}


def azure(path: Path, seed: int) -> Trace:
    """Azure Functions 2019 (Shahrad et al., ATC'20): minutes in which an app was active, with its containers.

    A minute with one container is one request at a random place in it. `containers` is the mean concurrency of the
    minute, rounded up: one with several stands for as many requests, each at a place of its own.
    """
    dice = random.Random(f"azure/{seed}")  # noqa: S311 - a repeatable experiment, not a secret

    def requests() -> Iterator[tuple[float, str, float]]:
        for row in read_rows(path, ("minute_start_s", "model", "containers")):
            minute = row.number("minute_start_s", "seconds")
            containers = row.number("containers", "a count")
            if containers < 1 or containers % 1:
                row.refuse("containers", "expected a whole number >= 1")
            for _ in range(int(containers)):
                yield minute + dice.random() * _MINUTE_SECONDS, row.text("model"), _service_seconds(dice)

    return Trace.of("Azure", requests())


def lmsys(path: Path, seed: int = 0) -> Trace:  # noqa: ARG001 - nothing is left open here
    """Conversations of chat.lmsys.org over 27 models (VTC artifact), stretched from 600 s to a day."""

    def requests() -> Iterator[tuple[float, str, float]]:
        for row in read_rows(path, ("t_s_scaled_to_600", "model", "prompt_tokens", "output_tokens")):
            at = row.number("t_s_scaled_to_600", "seconds") * _LMSYS_FACTOR
            read = row.number("prompt_tokens", "a count") / _PROMPT_TOKENS_PER_SECOND
            written = row.number("output_tokens", "a count") / _TOKENS_PER_SECOND
            yield at, row.text("model"), read + written

    return Trace.of("LMSYS", requests())


def servegen(path: Path, seed: int) -> Trace:
    """Clients of a hosted model (alibaba/ServeGen), the first three days of seven."""
    dice = random.Random(f"servegen/{seed}")  # noqa: S311 - a repeatable experiment, not a secret

    def requests() -> Iterator[tuple[float, str, float]]:
        for row in read_rows(path, ("t_s", "model")):
            at = row.number("t_s", "seconds")
            if at < _SERVEGEN_SECONDS:
                yield at, row.text("model"), _service_seconds(dice)

    return Trace.of("ServeGen", requests())


def catalogue(path: Path = BUILT_IN, disk: str = "nvme") -> tuple[WorkloadModel, ...]:
    """The models of models.csv: memory with a context of 4096 tokens, load time from this kind of disk.

    Args:
        path: the file; by default the one that comes with keepwarm.
        disk: warm (the page cache), nvme or sata.

    Raises:
        TraceError: the file says something else, or names a model twice.
    """
    models: dict[str, WorkloadModel] = {}
    for row in read_rows(path, ("name", "vram_bytes_4k", _LOADS[disk])):
        name = row.text("name")
        if name in models:
            row.refuse("name", "expected each model once")
        size, load = row.number("vram_bytes_4k", "bytes"), row.number(_LOADS[disk], "seconds")
        models[name] = WorkloadModel(name, int(size), load)
    if not models:
        raise TraceError(f"{path}: expected at least one model (got none)")
    return tuple(models.values())


def _service_seconds(dice: random.Random) -> float:
    return dice.expovariate(1 / _MEAN_SERVICE_SECONDS)
