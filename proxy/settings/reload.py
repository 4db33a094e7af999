"""The settings while keepwarm runs: reloaded when their file changes or on demand; the last good ones stay in force.

Never blocks the event loop, and never lets go of good settings for bad ones. What is done with new settings is the
caller's part.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from watchfiles import awatch
from watchfiles._rust_notify import WatchfilesRustInternalError

from proxy.settings.errors import SettingsError
from proxy.settings.load import load
from proxy.settings.schema import AFTER_RESTART, Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from pathlib import Path

_QUIET_MS: Final = 100  # an editor that truncates and then writes is done by then
_LOOK_SECONDS: Final = 1.0  # for what no notification tells: network folders, a folder that was replaced

Identity = tuple[int, ...] | None


class SettingsFile:
    """A settings file, its environment, and the settings that are in force; blocks while it is made.

    Attributes:
        path: the file; None: there is none, only defaults and the environment.
        current: the settings in force. The keys of AFTER_RESTART keep the value that keepwarm started with.
        after_restart: the keys ('server.listen') whose value in the file takes effect only after a restart.
        last_error: the problems of the last reload, one a line; None: it went well.
        reloads_ok: how many reloads succeeded.
        reloads_failed: how many reloads left the settings as they were.

    Raises:
        SettingsError: The file is not usable at the start, when there are no good settings to stay with.
    """

    def __init__(self, path: Path | None, env: Mapping[str, str]) -> None:
        self.path = path
        self.after_restart: tuple[str, ...] = ()
        self.last_error: str | None = None
        self.reloads_ok = 0
        self.reloads_failed = 0
        self._env = dict(env)
        self._one_at_a_time = asyncio.Lock()
        self._seen: Identity = None
        self.current = self._load()

    async def reload(self) -> Settings:
        """Read the file again and return the settings that are now in force, changed or not.

        Raises:
            SettingsError: The file is not usable; `current` is what it was, `last_error` says why.
        """
        async with self._one_at_a_time:
            try:
                loaded = await asyncio.to_thread(self._load)
            except SettingsError as error:
                self.reloads_failed += 1
                self.last_error = str(error)
                raise
            self.current, self.after_restart = _hold_back(self.current, loaded)
            self.reloads_ok += 1
            self.last_error = None
            return self.current

    async def watch(self, on_change: Callable[[Settings], None], on_error: Callable[[str], None]) -> None:
        """Reload whenever the file changes, until cancelled; return at once if there is no file.

        Args:
            on_change: called with the settings in force after each reload that succeeded.
            on_error: called with the problems, one a line, after each that did not.
        """
        if self.path is None:
            return
        async with aclosing(_wakes(self.path)) as wakes:
            async for _ in wakes:
                if await asyncio.to_thread(_identity, self.path) == self._seen:
                    continue
                try:
                    settings = await self.reload()
                except SettingsError as error:
                    on_error(str(error))
                else:
                    on_change(settings)

    def _load(self) -> Settings:
        """Load, and remember which state of the file that was; looked at before, so that no later change is missed."""
        if self.path is not None:
            self._seen = _identity(self.path)
        return load(self.path, self._env)


def _hold_back(running: Settings, loaded: Settings) -> tuple[Settings, tuple[str, ...]]:
    """Return the loaded settings with what cannot change while running as it was, and the names of those keys."""
    held: list[str] = []
    for section, key in AFTER_RESTART:
        before = getattr(getattr(running, section), key)
        after = getattr(loaded, section)
        if getattr(after, key) != before:
            held.append(f"{section}.{key}")
            loaded = loaded.model_copy(update={section: after.model_copy(update={key: before})})
    return loaded, tuple(held)


async def _wakes(path: Path) -> AsyncGenerator[None]:
    """Yield when the file may have changed: soon after its folder changes, and every second in any case.

    The folder is watched, not the file, because editors and ConfigMaps put a new file in place of the old one; so is
    the folder of the file that a symbolic link leads to.
    """
    while True:
        folders = await asyncio.to_thread(_folders, path)
        changes = awatch(
            *folders,
            watch_filter=None,
            step=_QUIET_MS,
            rust_timeout=int(_LOOK_SECONDS * 1000),
            yield_on_timeout=True,
            recursive=False,
        )
        try:
            async with aclosing(changes):
                async for _ in changes:
                    yield
                    if await asyncio.to_thread(_folders, path) != folders:
                        break  # another folder stands there now: the old watch tells nothing of it
        except (OSError, WatchfilesRustInternalError):  # the folder has just gone, or the system has no watches left
            yield
            await asyncio.sleep(_LOOK_SECONDS)


def _folders(path: Path) -> dict[Path, Identity]:
    folders = {folder: _identity(folder) for folder in (path.absolute().parent, path.resolve().parent)}
    return {folder: identity for folder, identity in folders.items() if identity is not None}


def _identity(path: Path) -> Identity:
    """Return what changes when something else stands at the path or in the file; None: nothing stands there."""
    try:
        status = path.stat()
    except OSError:
        return None
    if path.is_dir():
        return (status.st_dev, status.st_ino)
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
