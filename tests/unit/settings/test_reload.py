"""Settings while keepwarm runs: real files, really replaced; the last good settings always stay."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from proxy.settings.errors import SettingsError
from proxy.settings.reload import SettingsFile

SOON = 10  # seconds until a test gives up; a change is noticed after about 0.2


class Watcher:
    """Watches a file in a task and hands out what it reports, in order."""

    def __init__(self, file):
        self.reports = asyncio.Queue()
        self.file = file

    def changed(self, settings):
        self.reports.put_nowait(settings.policy)

    async def next_report(self):
        async with asyncio.timeout(SOON):
            return await self.reports.get()


@contextlib.asynccontextmanager
async def watching(path):
    file = SettingsFile(path, {})
    watcher = Watcher(file)
    task = asyncio.create_task(file.watch(watcher.changed, watcher.reports.put_nowait))
    try:
        yield watcher
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "keepwarm.yaml"
    path.write_text("policy: lru\n")
    return path


def replace_by_rename(path, text):
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


async def test_a_reload_swaps_valid_settings(path):
    file = SettingsFile(path, {"KEEPWARM_MAX_WAIT": "7s"})
    path.write_text("policy: fixed\n")
    settings = await file.reload()
    assert settings is file.current
    assert (settings.policy, settings.max_wait) == ("fixed", 7)
    assert (file.reloads_ok, file.reloads_failed, file.last_error, file.after_restart) == (1, 0, None, ())


async def test_a_reload_of_bad_settings_leaves_the_good_ones_and_says_why(path):
    file = SettingsFile(path, {})
    before = file.current
    path.write_text("policy: best\n")
    with pytest.raises(SettingsError, match="policy: expected one of"):
        await file.reload()
    assert file.current is before
    assert (file.reloads_ok, file.reloads_failed) == (0, 1)
    assert file.last_error == f"{path}:1:1: policy: expected one of adaptive, fixed, lru (got 'best')"


async def test_the_error_is_gone_after_a_good_reload(path):
    file = SettingsFile(path, {})
    path.unlink()
    with pytest.raises(SettingsError, match="cannot be read"):
        await file.reload()
    path.write_text("policy: lru\n")
    await file.reload()
    assert (file.last_error, file.reloads_ok, file.reloads_failed) == (None, 1, 1)


async def test_what_cannot_change_while_running_stays_and_is_named(path):
    file = SettingsFile(path, {})
    path.write_text(
        "server: {listen: ':1', shutdown_grace: 1s}\nadmin: {listen: 'localhost:2'}\n"
        "upstream: {url: other}\nstore: {path: /x, retention: 1d}\n"
    )
    settings = await file.reload()
    assert file.after_restart == (
        *("server.listen", "server.shutdown_grace", "admin.listen", "upstream.url", "store.path", "store.retention"),
    )
    assert (str(settings.server.listen), settings.upstream.url) == ("127.0.0.1:11435", "http://127.0.0.1:11434")
    assert (settings.server.shutdown_grace, settings.store.retention) == (30, 30 * 86400)
    path.write_text("policy: lru\n")
    await file.reload()
    assert file.after_restart == ()


async def test_reloads_at_the_same_time_take_turns(path):
    file = SettingsFile(path, {})
    await asyncio.gather(*(file.reload() for _ in range(5)))
    assert file.reloads_ok == 5


def test_settings_that_are_bad_at_the_start_are_an_error(path):
    path.write_text("policy: best\n")
    with pytest.raises(SettingsError):
        SettingsFile(path, {})


async def test_without_a_file_there_is_nothing_to_watch_and_a_reload_is_fine():
    file = SettingsFile(None, {"KEEPWARM_POLICY": "lru"})
    async with asyncio.timeout(SOON):
        await file.watch(lambda _: None, lambda _: None)
    assert (await file.reload()).policy == "lru"


async def test_a_file_written_in_place_is_noticed(path):
    async with watching(path) as watcher:
        path.write_text("policy: fixed\n")
        assert await watcher.next_report() == "fixed"


async def test_a_file_replaced_by_a_rename_is_noticed_again_and_again(path):
    async with watching(path) as watcher:
        for policy in ("fixed", "adaptive", "lru"):
            replace_by_rename(path, f"policy: {policy}\n")
            assert await watcher.next_report() == policy


async def test_a_bad_edit_is_reported_and_a_good_one_mends_it(path):
    async with watching(path) as watcher:
        path.write_text("policy: [\n")
        assert "while parsing a flow" in await watcher.next_report()
        assert watcher.file.current.policy == "lru"
        path.write_text("policy: fixed\n")
        assert await watcher.next_report() == "fixed"


async def test_a_removed_file_is_reported_and_its_return_is_noticed(path):
    async with watching(path) as watcher:
        path.unlink()
        assert "cannot be read: No such file" in await watcher.next_report()
        path.write_text("policy: fixed\n")
        assert await watcher.next_report() == "fixed"


async def test_a_folder_that_is_removed_and_made_again_is_watched_again(tmp_path):
    folder = tmp_path / "config"
    folder.mkdir()
    path = folder / "keepwarm.yaml"
    path.write_text("policy: lru\n")
    async with watching(path) as watcher:
        path.unlink()
        folder.rmdir()
        assert "cannot be read" in await watcher.next_report()
        folder.mkdir()
        path.write_text("policy: fixed\n")
        assert await watcher.next_report() == "fixed"
        replace_by_rename(path, "policy: adaptive\n")
        assert await watcher.next_report() == "adaptive"


async def test_a_config_map_that_swaps_its_folders_is_noticed(tmp_path):
    """Kubernetes: keepwarm.yaml → ..data/keepwarm.yaml, ..data → a folder per version, swapped by a rename."""

    def publish(version, policy):
        folder = tmp_path / version
        folder.mkdir()
        (folder / "keepwarm.yaml").write_text(f"policy: {policy}\n")
        link = tmp_path / "..data_tmp"
        link.symlink_to(version)
        link.replace(tmp_path / "..data")

    publish("..1", "lru")
    path = tmp_path / "keepwarm.yaml"
    path.symlink_to(Path("..data") / "keepwarm.yaml")
    async with watching(path) as watcher:
        publish("..2", "fixed")
        assert await watcher.next_report() == "fixed"
        publish("..3", "adaptive")
        assert await watcher.next_report() == "adaptive"


async def test_the_file_that_a_link_leads_to_is_watched_where_it_stands(tmp_path, path):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "keepwarm.yaml"
    link.symlink_to(path)
    async with watching(link) as watcher:
        path.write_text("policy: fixed\n")
        assert await watcher.next_report() == "fixed"


async def test_other_files_in_the_folder_are_of_no_interest(tmp_path, path):
    async with watching(path) as watcher:
        (tmp_path / "other.yaml").write_text("policy: [\n")
        path.write_text("policy: fixed\n")
        assert await watcher.next_report() == "fixed"
        assert watcher.reports.empty()
