"""Runs the proxy in this process until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

import click

from proxy import __version__
from proxy.app import running_app
from proxy.server.listeners import ListenError
from proxy.server.tls import CertificateError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

    from proxy.app import App
    from proxy.server.clock import SteadyClock
    from proxy.settings import SettingsFile

_COLLECT_AFTER = 20_000  # objects; a request makes some hundreds that mostly go by themselves


async def serve_until_told(
    settings_file: SettingsFile,
    simulated: SteadyClock | None = None,
    beside: Callable[[App], AbstractAsyncContextManager[None]] = lambda _: nullcontext(),
) -> None:
    """Serve with these settings until SIGTERM or SIGINT.

    Args:
        settings_file: the settings.
        simulated: as `running_app` takes it.
        beside: what is to be done while the proxy serves.
    """
    settings = settings_file.current
    gc.set_threshold(_COLLECT_AFTER)
    async with running_app(settings_file, simulated) as app:
        click.echo(
            f"keepwarm {__version__}: {app.client_url} -> {settings.upstream.url}, admin {app.admin_url}", err=True
        )
        async with beside(app):
            await _until_stopped(app)


async def _until_stopped(app: App) -> None:
    """Return when the process is asked to stop; SIGHUP reloads the settings meanwhile."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    reloads: set[asyncio.Task[list[str]]] = set()

    def reload() -> None:
        task = loop.create_task(app.reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload)
    await stop.wait()
    await asyncio.gather(*reloads, return_exceptions=True)


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run the work on a loop of its own; a port that can't be listened on ends the program with that message."""
    loop_factory = None
    if sys.platform != "win32":
        import uvloop  # noqa: PLC0415 - not to be had on Windows

        _use_all_descriptors()
        loop_factory = uvloop.new_event_loop
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(work)
    except (ListenError, CertificateError) as error:
        raise click.ClickException(str(error)) from error


def _use_all_descriptors() -> None:
    """A connection takes two; the 1024 that a process begins with are a matter of habit, the hard limit is the real."""
    import resource  # noqa: PLC0415 - as above

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS says "no limit" and takes no such number
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
