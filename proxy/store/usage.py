"""Remembers usage across restarts: statistics per model and one row per request. Never stops or delays a request.

All writing is done by one thread, every two seconds and in one transaction, so a kill -9 loses at most ten seconds.
A database that is broken is set aside; one that is locked, read-only or on a full disk is tried again now and then.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from proxy.domain.snapshot import StoreSnapshot
from proxy.store.database import Database
from proxy.store.schema import UnusableDatabaseError
from proxy.store.set_aside import is_broken, set_aside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from proxy.store.row import RequestRow

STATE_VERSION: Final = 1
"""Version of the statistics' own format; raise it when an older keepwarm's statistics would be misread."""

SIZES_KEY: Final = "bytes"
"""Where the saved statistics have each model's GPU memory in bytes: nobody reads it but replays of the history."""

FLUSH_SECONDS: Final = 2.0
FLUSHES_PER_RETRY: Final = 5
FLUSHES_PER_PRUNING: Final = 1800
MAX_PENDING_ROWS: Final = 10_000

_log: Final = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class UsageStore:
    """The usage history in one SQLite file. Used from one event loop; `rows` from anywhere."""

    def __init__(self, path: Path, retention_seconds: float) -> None:
        """Keep rows for `retention_seconds` in the file `path`; its folder is made if there is none."""
        self._database = Database(path)
        self._retention_seconds = retention_seconds
        self._pending: deque[RequestRow] = deque()
        self._state: tuple[int, str] | None = None
        self._dropped = 0
        self._up = True
        self._flushes_until_retry = 0
        self._flushes_until_pruning = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="usage-store")
        self._flushing = asyncio.Lock()
        self._closing = asyncio.Event()
        self._flusher: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open the database and begin to write now and then. Where that fails, the store goes on without it."""
        await self._attempt(self._database.connect)
        self._flusher = asyncio.create_task(self._flush_until_closed())

    async def close(self) -> None:
        """Write what is pending and close the file."""
        self._closing.set()
        if self._flusher is not None:
            await self._flusher
        await self.flush()
        await self._in_thread(self._database.close)
        self._thread.shutdown()

    def record(self, row: RequestRow) -> None:
        """Add a row with the next write. Of more than 10,000 waiting rows the oldest is given up."""
        self._pending.append(row)
        if len(self._pending) > MAX_PENDING_ROWS:
            self._bound_pending()

    def save_state(self, state: dict[str, Any]) -> None:
        """Replace the saved state, a JSON object, with the next write."""
        self._state = (STATE_VERSION, json.dumps(state, separators=(",", ":")))

    async def load_state(self) -> dict[str, Any] | None:
        """Return the state that was saved last; None: there is none that we could read."""
        found = await self._attempt(self._database.read_state)
        if found is None:
            return None
        version, text = found
        if version != STATE_VERSION:
            _log.warning("usage history %s: statistics of version %s are not understood", self._database.path, version)
            return None
        try:
            state = json.loads(text)
        except ValueError:
            state = None
        if not isinstance(state, dict):
            _log.warning("usage history %s: the saved statistics are no JSON object", self._database.path)
            return None
        return state

    def rows(self, since: float = 0.0) -> Iterator[RequestRow]:
        """Yield the written rows that arrived at this time (unix seconds) or later, oldest first.

        It blocks, and needs no `open`: it is meant for offline use.

        Raises:
            sqlite3.Error: the database cannot be read.
        """
        return self._database.rows(since)

    def snapshot(self) -> StoreSnapshot:
        """Return how the store fares."""
        return StoreSnapshot(up=self._up, pending_rows=len(self._pending), dropped_rows=self._dropped)

    async def flush(self) -> None:
        """Write what is pending now, and prune once an hour; after a failure only every fifth call tries."""
        async with self._flushing:
            self._flushes_until_retry -= 1
            self._flushes_until_pruning -= 1
            prune = self._flushes_until_pruning <= 0
            idle = self._up and not (self._pending or self._state or prune)
            if not idle and (self._flushes_until_retry <= 0 or self._closing.is_set()):
                await self._write(time.time() - self._retention_seconds if prune else None)

    async def _flush_until_closed(self) -> None:
        while not self._closing.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), FLUSH_SECONDS)
            await self.flush()

    async def _write(self, prune_before: float | None) -> None:
        rows, self._pending = self._pending, deque()
        state, self._state = self._state, None
        await self._attempt(lambda: self._database.write(rows, state, prune_before))
        if not self._up:
            self._pending.extendleft(reversed(rows))
            self._bound_pending()
            self._state = self._state or state
        elif prune_before is not None:
            self._flushes_until_pruning = FLUSHES_PER_PRUNING

    def _bound_pending(self) -> None:
        while len(self._pending) > MAX_PENDING_ROWS:
            self._pending.popleft()
            self._dropped += 1

    async def _attempt(self, action: Callable[[], _Result]) -> _Result | None:
        """Do it in the writer's thread; None where that fails. Only the change is logged, not each failure."""
        try:
            result = await self._in_thread(lambda: self._repairing(action))
        except (sqlite3.Error, OSError, UnusableDatabaseError) as error:
            if self._up:
                _log.warning("usage history %s: %s; going on without it for now", self._database.path, error)
            self._up = False
            self._flushes_until_retry = FLUSHES_PER_RETRY
            return None
        if not self._up:
            _log.warning("usage history %s: works again; %d rows were lost", self._database.path, self._dropped)
        self._up = True
        return result

    def _repairing(self, action: Callable[[], _Result]) -> _Result:
        """Do it, in the writer's thread; where the file turns out to be broken, with a new one."""
        try:
            return action()
        except sqlite3.Error as error:
            self._database.close()  # whatever it was, the next attempt begins with a new connection
            if not is_broken(error):
                raise
            place = set_aside(self._database.path)
            _log.error("usage history %s is broken (%s): set aside as %s", self._database.path, error, place.name)
            return action()

    async def _in_thread(self, action: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, action)
