import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from proxy.store.schema import APPLICATION_ID, MIGRATIONS, UnusableDatabaseError, migrate

FIRST = ("CREATE TABLE pets (name TEXT)", "INSERT INTO pets VALUES ('Rex')")
SECOND = ("ALTER TABLE pets ADD COLUMN legs INTEGER DEFAULT 4",)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


def test_a_new_database_gets_every_version_and_our_mark(connection: sqlite3.Connection) -> None:
    migrate(connection)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)


def test_an_earlier_version_is_brought_to_the_latest_with_its_rows(connection: sqlite3.Connection) -> None:
    migrate(connection, [FIRST])
    migrate(connection, [FIRST, SECOND])
    migrate(connection, [FIRST, SECOND])
    assert connection.execute("SELECT * FROM pets").fetchall() == [("Rex", 4)]


def test_a_migration_that_fails_leaves_the_earlier_version(connection: sqlite3.Connection) -> None:
    migrate(connection, [FIRST])
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, [FIRST, (*SECOND, "NOT A STATEMENT")])
    assert connection.execute("SELECT * FROM pets").fetchall() == [("Rex",)]
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)


def test_a_later_version_is_left_alone(connection: sqlite3.Connection) -> None:
    migrate(connection, [FIRST, SECOND])
    with pytest.raises(UnusableDatabaseError, match="its version must be at most 1, got 2"):
        migrate(connection, [FIRST])


def test_a_database_of_another_program_is_left_alone(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE photos (name TEXT)")
    with pytest.raises(UnusableDatabaseError, match="another program"):
        migrate(connection)
    assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("photos",)]
