"""Reads and writes the SQLite file. Never used outside the writer's thread, since it blocks.

`rows` and `saved_state` stand alone: they open the file for themselves, read-only.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import ExitStack, closing, suppress
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeAlias

from proxy.store.row import RequestRow
from proxy.store.schema import migrate
from proxy.store.set_aside import companions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_log: Final = logging.getLogger(__name__)
_BUSY_SECONDS: Final = 1.0
_NAMES: Final = ", ".join(RequestRow._fields)
_INSERT: Final = f"INSERT INTO requests ({_NAMES}) VALUES "  # noqa: S608 - our own names
_ROW: Final = f"({', '.join('?' * len(RequestRow._fields))})"
_ROWS_AT_ONCE: Final = 256
_STATE: Final = "SELECT version, body FROM state"
_SAVE: Final = "INSERT OR REPLACE INTO state (id, version, body) VALUES (0, ?, ?)"
_Identity: TypeAlias = tuple[int, int] | None


class Database:
    """One database file; every method raises sqlite3.Error, OSError or UnusableDatabaseError where it fails."""

    def __init__(self, path: Path) -> None:
        """Nothing is opened before it is needed."""
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[_Identity, ...] = ()

    def connect(self) -> sqlite3.Connection:
        """Open the file, made anew where there is none, in its latest version; return the connection."""
        if self._connection is not None and self._opened[0] != _identity(self.path):
            _log.warning("usage history %s was removed or replaced: what stands there now is used", self.path)
            self.close()
            self._remove_old_companions()
        if self._connection is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileExistsError):  # never opened where it exists: closing it would drop SQLite's locks on it
                os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            self._connection = self._set_up()
            self._opened = tuple(map(_identity, companions(self.path)))
        return self._connection

    def _remove_old_companions(self) -> None:
        """What SQLite wrote beside the file that stood here would be taken for the new one's."""
        for companion, opened in zip(companions(self.path), self._opened, strict=True):
            if companion != self.path and opened is not None and opened == _identity(companion):
                companion.unlink()

    def _set_up(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
        with ExitStack() as on_failure:
            on_failure.callback(connection.close)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")  # a killed process loses nothing that was committed
            migrate(connection)
            on_failure.pop_all()
        return connection

    def close(self) -> None:
        """Close the file, if it is open; the next use opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def read_state(self) -> tuple[int, str] | None:
        """Return version and text of the saved state; None: nothing was saved."""
        found: tuple[int, str] | None = self.connect().execute(_STATE).fetchone()
        return found

    def write(self, rows: Iterable[RequestRow], state: tuple[int, str] | None, prune_before: float | None) -> None:
        """Add rows, replace the state, delete the rows from before a time (unix seconds): all of it or nothing."""
        connection = self.connect()
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            for batch in _batches(rows):
                connection.execute(_INSERT + ", ".join([_ROW] * len(batch)), tuple(chain.from_iterable(batch)))
            if state is not None:
                connection.execute(_SAVE, state)
            if prune_before is not None:
                connection.execute("DELETE FROM requests WHERE at < ?", (prune_before,))

    def rows(self, since: float) -> Iterator[RequestRow]:
        """Yield the rows that arrived at this time or later, oldest first."""
        with closing(self._read_only()) as connection:
            there = {column[1] for column in connection.execute("PRAGMA table_info(requests)")}
            names = [name for name in RequestRow._fields if name in there]  # an earlier keepwarm's file lacks the last
            select = f"SELECT {', '.join(names)} FROM requests WHERE at >= ? ORDER BY at"  # noqa: S608 - our own names
            for values in connection.execute(select, (since,)):
                yield RequestRow(*values)

    def saved_state(self) -> tuple[int, str] | None:
        """Return version and text of the saved state without writing anything; None: nothing was saved."""
        with closing(self._read_only()) as connection:
            found: tuple[int, str] | None = connection.execute(_STATE).fetchone()
            return found

    def _read_only(self) -> sqlite3.Connection:
        uri = f"{self.path.absolute().as_uri()}?mode=ro"
        return sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)


def _batches(rows: Iterable[RequestRow]) -> Iterator[list[RequestRow]]:
    """A statement for each row would take the interpreter's lock from the event loop as often.

    The sizes are powers of two: SQLite keeps each different statement, and large ones take a quarter of a megabyte.
    """
    rest, size = list(rows), _ROWS_AT_ONCE
    while rest:
        while size > len(rest):
            size //= 2
        yield rest[:size]
        rest = rest[size:]


def _identity(path: Path) -> _Identity:
    """Return which file stands at the path; SQLite goes on with the one that it opened, wherever that is by now."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
