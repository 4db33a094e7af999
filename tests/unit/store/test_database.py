import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from proxy.store.database import Database
from proxy.store.row import RequestRow
from proxy.store.schema import MIGRATIONS, migrate
from tests.unit.store.samples import row

COLUMNS_OF_THE_FIRST = [name for name in RequestRow._fields if name != "client"]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(tmp_path / "state" / "usage.db")) as database:
        yield database


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_user_can_read_the_files_and_enter_the_folder(database: Database) -> None:
    database.write([row()], None, None)
    assert mode(database.path.parent) == 0o700
    assert {mode(file) for file in database.path.parent.iterdir()} == {0o600}


def test_a_database_that_exists_is_opened_with_its_rows(database: Database) -> None:
    first, second = row(1.0), row(2.0)
    database.write([first], (1, "{}"), None)
    database.close()
    database.write([second], None, None)
    assert list(database.rows(0.0)) == [first, second]
    assert database.read_state() == (1, "{}")


def test_rows_come_oldest_first_and_from_a_time_on(database: Database) -> None:
    database.write([row(3.0), row(1.0), row(2.0)], None, None)
    assert [found.at for found in database.rows(2.0)] == [2.0, 3.0]


def test_pruning_deletes_what_arrived_before_a_time(database: Database) -> None:
    database.write([row(1.0), row(2.0), row(3.0)], None, 2.0)
    assert [found.at for found in database.rows(0.0)] == [2.0, 3.0]


def test_the_last_state_that_was_saved_is_the_one_that_is_read(database: Database) -> None:
    assert database.read_state() is None
    database.write([], (1, "first"), None)
    database.write([], (2, "second"), None)
    assert database.read_state() == (2, "second")


def test_a_write_that_fails_in_its_middle_leaves_nothing(database: Database) -> None:
    with pytest.raises(OverflowError):
        database.write([row(1.0), row(2.0**70), row(2**70)], (1, "{}"), None)
    assert list(database.rows(0.0)) == []
    assert database.read_state() is None


def test_the_saved_state_can_be_read_without_writing(database: Database) -> None:
    database.write([], (1, "{}"), None)
    before = database.path.read_bytes()
    assert Database(database.path).saved_state() == (1, "{}")
    assert database.path.read_bytes() == before


def test_reading_only_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        Database(tmp_path / "none.sqlite").saved_state()
    assert not (tmp_path / "none.sqlite").exists()


def test_a_database_of_before_there_were_clients_keeps_its_rows_and_takes_new_ones(database: Database) -> None:
    old = row(1.0)
    assert old.client == "keyless"
    database.path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(database.path, isolation_level=None)) as connection:
        migrate(connection, MIGRATIONS[:1])
        values = [getattr(old, name) for name in COLUMNS_OF_THE_FIRST]
        marks = ", ".join("?" * len(values))
        connection.execute(f"INSERT INTO requests ({', '.join(COLUMNS_OF_THE_FIRST)}) VALUES ({marks})", values)  # noqa: S608
        connection.execute("INSERT INTO state VALUES (0, 1, '{}')")
    assert list(database.rows(0.0)) == [old]  # without being brought to the new version: reading may not write
    new = row(2.0)._replace(client="alice")
    database.write([new], None, None)
    assert list(database.rows(0.0)) == [old, new]
    assert database.read_state() == (1, "{}")


@pytest.mark.parametrize("companions", [True, False])
def test_a_file_that_is_removed_while_it_is_open_is_made_anew(
    database: Database, caplog: pytest.LogCaptureFixture, *, companions: bool
) -> None:
    database.write([row(1.0)], (1, "{}"), None)
    for file in database.path.parent.glob("usage.db*" if companions else "usage.db"):
        file.unlink()
    database.write([row(2.0)], (2, "{}"), None)
    assert [found.at for found in database.rows(0.0)] == [2.0]
    assert database.read_state() == (2, "{}")
    (record,) = caplog.records
    assert str(database.path) in record.getMessage()


def test_a_file_that_is_put_in_its_place_is_used_and_kept(database: Database, tmp_path: Path) -> None:
    with closing(Database(tmp_path / "other.db")) as other:
        other.write([row(1.0)], (1, "{}"), None)
    database.write([row(2.0)], None, None)
    (tmp_path / "other.db").replace(database.path)
    database.write([row(3.0)], None, None)
    database.close()
    assert [found.at for found in database.rows(0.0)] == [1.0, 3.0]
    assert database.read_state() == (1, "{}")


def test_rows_in_any_number_are_written_by_few_different_statements(database: Database) -> None:
    """SQLite keeps the last 128 that it has prepared, and one of hundreds of rows takes a quarter of a megabyte."""
    seen: list[str] = []
    database.connect().set_trace_callback(seen.append)
    for count in range(300):
        database.write([row(float(at)) for at in range(count)], None, None)
    inserts = [statement for statement in seen if statement.startswith("INSERT")]
    assert len({statement.count("), (") for statement in inserts}) <= 9
    assert len(inserts) < 300 * 9
    assert len(list(database.rows(0.0))) == sum(range(300))
