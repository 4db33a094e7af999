"""What `keepwarm replay` and `recommend` replay: a usage history or a CSV file, its models, and the GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from proxy.domain.model import canonical
from proxy.sim.replay.history import history_models, history_rows, history_trace
from proxy.sim.replay.plain import plain_csv
from proxy.sim.replay.published import catalogue
from proxy.sim.replay.trace import KnownModels
from proxy.sim.replay.workload import WorkloadModel
from proxy.upstream.gpu import find_probe

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.settings import Settings

_SQLITE = b"SQLite format 3\x00"


@dataclass(frozen=True, slots=True)
class Replayable:
    """Something to be replayed.

    Attributes:
        name: what it is called.
        models: its requests and models.
        really_waited_seconds: what its clients waited for models when it happened; None: it does not say.
    """

    name: str
    models: KnownModels
    really_waited_seconds: float | None


def open_source(path: Path, own_history: Path, gpu_bytes: int) -> Replayable:
    """Read a history or a CSV file.

    Sizes and load times come from the history, of a CSV file from the user's own history, else by name from the
    catalogue that comes with keepwarm; models that are in neither get some of the catalogue's, drawn by the seed.

    Raises:
        TraceError: it cannot be read.
    """
    known = {canonical(m.name): WorkloadModel(canonical(m.name), m.bytes, m.load_seconds) for m in catalogue()}
    waited = None
    if path == own_history or _is_history(path):
        trace, known = history_trace(path), known | history_models(path)
        waited = sum(row.wait_seconds + (row.load_seconds or 0.0) for row in history_rows(path))
    else:
        trace = plain_csv(path)
        known |= history_models(own_history) if _is_history(own_history) else {}
    in_trace = tuple(known[name] for name in trace.ids if name in known)
    return Replayable(str(path), KnownModels(trace, in_trace, catalogue(), gpu_bytes), waited)


def gpu_bytes(budget: int | None, settings: Settings) -> int:
    """Find out how much GPU memory there is to replay with: as asked for, as set, or as the driver tells.

    Raises:
        click.UsageError: nobody says.
    """
    said = budget or settings.memory.budget
    if said is not None:
        return said
    probe = find_probe(settings.upstream.url)
    memory = probe.read() if probe else None
    if memory is None:
        raise click.UsageError(
            "how much GPU memory is there? No driver tells it here and memory.budget is auto: say --budget 24GiB"
        )
    return memory.total_bytes - settings.memory.reserve


def _is_history(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE
