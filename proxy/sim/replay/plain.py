"""A trace as people write one: CSV with the columns at,model[,service_seconds]. Invents nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from proxy.domain.model import canonical
from proxy.sim.replay.rows import Row, read_rows
from proxy.sim.replay.trace import Trace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SERVICE: Final = "service_seconds"


def plain_csv(path: Path) -> Trace:
    """Read a CSV of requests in any order.

    `at` is seconds (of any clock) or a date and time such as 2026-08-01T09:30:00Z, UTC where it names no zone; `model`
    a model's name; `service_seconds` how long it was served, 0 where the column is missing.

    Raises:
        TraceError: with file, line and column.
    """

    def requests() -> Iterator[tuple[float, str, float]]:
        for row in read_rows(path, ("at", "model"), (_SERVICE,)):
            service = row.number(_SERVICE, "seconds") if _SERVICE in row.values else 0.0
            yield _moment(row), canonical(row.text("model")), service

    return Trace.of(path.name, requests())


def _moment(row: Row) -> float:
    text = row.values["at"].strip()
    try:
        moment = datetime.fromisoformat(text) if "-" in text.lstrip("-") else None
    except ValueError:
        moment = None
    if moment is None:
        return row.number("at", "seconds or a date and time such as 2026-08-01T09:30:00Z, seconds")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
