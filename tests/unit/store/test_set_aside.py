import sqlite3
from pathlib import Path

import pytest

from proxy.store.set_aside import is_broken, set_aside


def test_the_companions_of_a_database_go_along(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    for name in ("usage.db", "usage.db-wal", "usage.db-shm"):
        (tmp_path / name).write_text(name)
    target = set_aside(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [target.name, f"{target.name}-shm", f"{target.name}-wal"]
    assert target.read_text() == "usage.db"


def test_only_the_last_three_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "usage[1].db"  # a name that a careless glob would misread
    (tmp_path / "usage[1].db.broken-by-hand").touch()
    for number in range(5):
        path.write_text(str(number))
        path.with_name(f"{path.name}-wal").touch()
        set_aside(path)
    kept = sorted(tmp_path.glob("*Z"))
    assert [file.read_text() for file in kept] == ["2", "3", "4"]
    assert len(list(tmp_path.glob("*Z-wal"))) == 3
    assert (tmp_path / "usage[1].db.broken-by-hand").exists()


def test_a_file_that_is_no_database_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    path.write_bytes(b"no database " * 100)
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.DatabaseError) as caught:
        connection.execute("SELECT * FROM sqlite_schema")
    connection.close()
    assert is_broken(caught.value)


def test_a_file_that_cannot_be_opened_is_not_broken(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite3.connect(tmp_path / "no folder" / "usage.db")
    assert not is_broken(caught.value)


def test_an_error_without_a_code_is_not_broken() -> None:
    assert not is_broken(sqlite3.ProgrammingError("Cannot operate on a closed database."))
