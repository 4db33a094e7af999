"""Moves a broken database out of the way, for whoever wants to look at it. Never deletes the one that just broke."""

from __future__ import annotations

import glob
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_KEPT: Final = 3
_BROKEN: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_COMPANIONS: Final = ("", "-wal", "-shm")


def companions(path: Path) -> tuple[Path, ...]:
    """Return the database file and those that SQLite keeps beside it, there or not."""
    return tuple(path.with_name(path.name + ending) for ending in _COMPANIONS)


def is_broken(error: sqlite3.Error) -> bool:
    """Tell whether the file's content is at fault, not its circumstances (locked, read-only, disk full)."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF in _BROKEN


def set_aside(path: Path) -> Path:
    """Rename the database, which must be closed, to `<name>.broken-<UTC time>`; of several such the last 3 are kept.

    Raises:
        OSError: it cannot be renamed.
    """
    target = path.with_name(f"{path.name}.broken-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    _move(path, target)
    earlier = sorted(path.parent.glob(f"{glob.escape(path.name)}.broken-*Z"))
    for stale in earlier[:-_KEPT]:
        for file in companions(stale):
            file.unlink(missing_ok=True)
    return target


def _move(path: Path, target: Path) -> None:
    """SQLite's companion files go along: left behind, they would be taken for those of the new database."""
    for source, destination in reversed(tuple(zip(companions(path), companions(target), strict=True))):
        if source.exists():
            source.rename(destination)
