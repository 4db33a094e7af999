"""What the database looks like, and the way there from every earlier version. Never touches another's database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

APPLICATION_ID: Final = 0x6B776D31  # "kwm1", in SQLite's header: tells our files from others

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE requests (
            at REAL, model TEXT, endpoint TEXT, runner_options_json TEXT, outcome TEXT, ending TEXT, status INTEGER,
            ttft_seconds REAL, e2e_seconds REAL, wait_seconds REAL, load_seconds REAL, prompt_tokens INTEGER,
            generated_tokens INTEGER, prompt_seconds REAL, generation_seconds REAL
        )""",
        "CREATE INDEX requests_at ON requests (at)",
        "CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 0), version INTEGER, body TEXT)",
    ),
    ("ALTER TABLE requests ADD COLUMN client TEXT NOT NULL DEFAULT 'keyless'",),  # nobody had a key before
)
"""The statements that lead from each version to the next. Only ever append: the version is how many were applied, and
is kept in SQLite's own header field for it (`PRAGMA user_version`), inside the transaction that applies them."""


class UnusableDatabaseError(Exception):
    """A sound database that we must not write to: somebody else's, or a later keepwarm's."""


def migrate(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Bring the database to the latest version, in one transaction.

    Args:
        connection: in autocommit mode.
        migrations: the statements that lead from each version to the next.

    Raises:
        UnusableDatabaseError: it is not ours, or its version is later than the latest we know.
        sqlite3.Error: it cannot be read or written.
    """
    if _version(connection, len(migrations)) == len(migrations):
        return
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        for statements in migrations[_version(connection, len(migrations)) :]:  # another process may have been faster
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _version(connection: sqlite3.Connection, latest: int) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (things,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if things and application_id != APPLICATION_ID:
        raise UnusableDatabaseError("it is a database of another program")
    if version > latest:
        raise UnusableDatabaseError(f"its version must be at most {latest}, got {version}: a later keepwarm wrote it")
    return int(version)
