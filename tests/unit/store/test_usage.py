import asyncio
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import pytest

from proxy.store.usage import FLUSHES_PER_PRUNING, FLUSHES_PER_RETRY, MAX_PENDING_ROWS, UsageStore
from tests.unit.store.samples import row

DAY = 86_400.0
JUNK = b"no database"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "usage.db"


@asynccontextmanager
async def opened(path: Path, retention_seconds: float = 30 * DAY) -> AsyncIterator[UsageStore]:
    store = UsageStore(path, retention_seconds)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """As another program would, that is in the middle of a write."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def no_file_may_grow_beyond(size: int) -> Iterator[None]:
    """A full disk, for this process only; CPython ignores the signal that comes with it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def spoil(path: Path, from_byte: int) -> None:
    sound = path.read_bytes()[:from_byte] if path.exists() else b""
    path.write_bytes(sound + JUNK * 20_000)


async def retry(store: UsageStore) -> None:
    for _ in range(FLUSHES_PER_RETRY):
        await store.flush()


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "proxy.store.usage"]


async def test_rows_and_statistics_survive_a_restart(path: Path) -> None:
    mine = row()
    async with opened(path) as store:
        assert await store.load_state() is None
        store.record(mine)
        store.save_state({"models": {"llama3:latest": [1.5, 2]}})
    async with opened(path) as store:
        assert await store.load_state() == {"models": {"llama3:latest": [1.5, 2]}}
    assert list(UsageStore(path, DAY).rows()) == [mine]


async def test_pending_rows_are_counted_until_they_are_written(path: Path) -> None:
    async with opened(path) as store:
        store.record(row())
        assert store.snapshot().pending_rows == 1
        await store.flush()
        assert store.snapshot().pending_rows == 0
        assert len(list(store.rows())) == 1


async def test_of_too_many_waiting_rows_the_oldest_are_given_up(path: Path) -> None:
    start = time.time()
    async with opened(path) as store:
        for number in range(MAX_PENDING_ROWS + 2):
            store.record(row(start + number))
        assert store.snapshot().dropped_rows == 2
    assert next(store.rows()).at == start + 2


async def test_rows_older_than_the_retention_are_pruned_at_the_start_and_then_hourly(path: Path) -> None:
    old, new = row(time.time() - 31 * DAY), row(time.time() - 29 * DAY)
    async with opened(path) as store:
        store.record(old)
        store.record(new)
        await store.flush()
        assert list(store.rows()) == [new]
        store.record(old)
        await store.flush()
        assert list(store.rows()) == [old, new]
        for _ in range(FLUSHES_PER_PRUNING):  # an hour of flushes
            await store.flush()
        assert list(store.rows()) == [new]


async def test_statistics_of_another_version_are_not_read(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(path) as store:
        store.save_state({"models": {}})
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE state SET version = 99")
    async with opened(path) as store:
        assert await store.load_state() is None
    assert messages(caplog) == [f"usage history {path}: statistics of version 99 are not understood"]


async def test_a_file_that_is_no_database_is_set_aside(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spoil(path, from_byte=0)
    mine = row()
    async with opened(path) as store:
        store.record(mine)
    assert list(store.rows()) == [mine]
    (aside,) = path.parent.glob("usage.db.broken-*")
    assert aside.read_bytes().startswith(JUNK)
    (message,) = messages(caplog)
    assert message == f"usage history {path} is broken (file is not a database): set aside as {aside.name}"


async def test_a_database_that_breaks_inside_is_set_aside_when_it_is_found_out(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(path) as store:
        for _ in range(1000):
            store.record(row())
    spoil(path, from_byte=4096)  # all pages but the first, which has the header
    mine = row()
    async with opened(path) as store:
        store.record(mine)
        await store.flush()
        assert store.snapshot().up
    assert list(store.rows()) == [mine]
    (message,) = messages(caplog)
    assert "is broken (database disk image is malformed): set aside as usage.db.broken-" in message


async def test_a_locked_database_is_written_to_when_it_is_free_again(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine = row()
    async with opened(path) as store:
        with locked(path):
            store.record(mine)
            store.save_state({"n": 1})
            await store.flush()
            await retry(store)
            assert store.snapshot().pending_rows == 1
            assert not store.snapshot().up
        await retry(store)
        assert store.snapshot().up
        assert list(store.rows()) == [mine]
        assert await store.load_state() == {"n": 1}
    assert messages(caplog) == [
        f"usage history {path}: database is locked; going on without it for now",
        f"usage history {path}: works again; 0 rows were lost",
    ]


async def test_after_a_failure_only_every_fifth_flush_tries(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    path.mkdir()  # a folder in the file's place
    async with opened(path) as store:
        path.rmdir()
        tried = []
        for _ in range(FLUSHES_PER_RETRY):
            await store.flush()
            tried.append(path.exists())
    assert tried == [False, False, False, False, True]


async def test_a_state_that_is_newer_than_the_one_that_failed_is_the_one_that_is_kept(path: Path) -> None:
    async with opened(path) as store:
        with locked(path):
            store.save_state({"n": 1})
            failing = asyncio.create_task(store.flush())
            await asyncio.sleep(0)  # the first is on its way to the writer's thread now
            store.save_state({"n": 2})
            await failing
            assert not store.snapshot().up
        await retry(store)
        assert await store.load_state() == {"n": 2}


async def test_a_locked_database_delays_no_request(path: Path) -> None:
    async with opened(path) as store:
        with locked(path):
            store.record(row())
            flushing = asyncio.create_task(store.flush())
            await asyncio.sleep(0)  # the writer's thread now waits for the lock
            began = time.perf_counter()
            for _ in range(100):
                store.record(row())
                await asyncio.sleep(0)
            assert not flushing.done()
            assert time.perf_counter() - began < 0.5  # the wait for the lock takes 1 s
            await flushing


async def test_a_folder_that_cannot_be_made_is_lived_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    async with opened(tmp_path / "file" / "usage.db") as store:
        store.record(row())
        store.save_state({})
        await store.flush()
        assert await store.load_state() is None
        assert not store.snapshot().up
    assert len(messages(caplog)) == 1


async def test_a_full_disk_is_lived_without_until_there_is_room(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(path) as store:
        with no_file_may_grow_beyond(64 * 1024):
            for _ in range(1000):
                store.record(row())
            await store.flush()
            assert not store.snapshot().up
            assert store.snapshot().pending_rows == 1000
        await retry(store)
        assert store.snapshot().up
        assert len(list(store.rows())) == 1000
    assert len(messages(caplog)) == 2


async def test_a_database_of_another_program_is_left_as_it_is(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE photos (name TEXT)")
    async with opened(path) as store:
        store.record(row())
        await store.flush()
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("photos",)]
    assert messages(caplog) == [
        f"usage history {path}: it is a database of another program; going on without it for now"
    ]


WRITES_UNTIL_IT_IS_KILLED = """
import asyncio, sys, time
from pathlib import Path
from proxy.store.usage import UsageStore
from tests.unit.store.samples import row

async def main():
    store = UsageStore(Path(sys.argv[1]), 86_400.0)
    await store.open()
    while True:
        at = time.time()
        store.record(row(at))
        store.save_state({"at": at})
        print(at, flush=True)
        await asyncio.sleep(0.05)

asyncio.run(main())
"""


def rows_written_before_a_kill(path: Path, seconds: float) -> list[float]:
    """Let another process record rows for some seconds, kill it, and return when it recorded each."""
    program = [sys.executable, "-c", WRITES_UNTIL_IT_IS_KILLED, str(path)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as writer:
        assert writer.stdout is not None
        written = [float(writer.stdout.readline())]
        while written[-1] - written[0] < seconds:
            written.append(float(writer.stdout.readline()))
        writer.kill()
    return written


async def test_a_kill_loses_at_most_ten_seconds(path: Path) -> None:
    written = await asyncio.to_thread(rows_written_before_a_kill, path, 11.0)
    promised = [at for at in written if at < written[-1] - 10.0]
    assert len(promised) > 5
    async with opened(path) as store:
        found = {saved.at for saved in store.rows()}
        state = await store.load_state()
    assert set(promised) <= found
    assert state is not None
    assert state["at"] >= promised[-1]
