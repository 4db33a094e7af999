"""The requests that keepwarm itself remembers, as a trace. Opens its database read-only, never makes or mends one."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

from proxy.policy import UsageBook
from proxy.policy.state import mapping, number
from proxy.sim.replay.rows import TraceError
from proxy.sim.replay.trace import Trace
from proxy.sim.replay.workload import WorkloadModel
from proxy.store.database import Database
from proxy.store.usage import SIZES_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from proxy.store.row import RequestRow


def history_rows(path: Path, since: float = 0.0) -> Iterator[RequestRow]:
    """Yield the requests of a usage history that arrived at this time (unix seconds) or later, oldest first.

    Raises:
        TraceError: there is no such file, or it is no usage history.
    """
    if not path.is_file():
        raise TraceError(f"{path}: no usage history there yet; `keepwarm serve` writes it")
    try:
        yield from Database(path).rows(since)
    except sqlite3.Error as error:
        raise TraceError(f"{path}: expected a usage history of keepwarm ({error})") from error


def history_trace(path: Path, since: float = 0.0) -> Trace:
    """Read a usage history: every request that reached a managed model, however it ended.

    How long it was served is what it took from arrival to end without what it was held for and what Ollama loaded.

    Raises:
        TraceError: it cannot be read or holds no request.
    """
    rows = (row for row in history_rows(path, since) if row.outcome != "passthrough")
    return Trace.of(path.name, ((row.at, row.model, _served_seconds(row)) for row in rows))


def history_models(path: Path) -> dict[str, WorkloadModel]:
    """Read what keepwarm learnt of the models in a usage history: those whose size it knows.

    A load takes what loads from disk took on average; before there was one, what its size lets expect.

    Raises:
        TraceError: it cannot be read.
    """
    try:
        saved = Database(path).saved_state()
        state = mapping({"state": json.loads(saved[1] if saved else "{}")}, "state")
        book = UsageBook.from_state(state) if state else UsageBook()
        sizes = mapping(state, SIZES_KEY) if SIZES_KEY in state else {}
        learnt = {name: int(number(sizes, name)) for name in sizes}
    except (sqlite3.Error, ValueError) as error:
        raise TraceError(f"{path}: expected a usage history of keepwarm with statistics ({error})") from error
    models = {}
    for name, size in learnt.items():
        models[name] = WorkloadModel(name, size, book.load_seconds(name, file_bytes=size, page_cache_warm=False))
    return models


def _served_seconds(row: RequestRow) -> float:
    return max(0.0, row.e2e_seconds - row.wait_seconds - (row.load_seconds or 0.0))
