"""Runs the proxy in this process until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import TYPE_CHECKING, Any

import click

from proxy import __version__
from proxy.app import running_app, serve_until_stopped
from proxy.server.listeners import ListenError
from proxy.server.tls import CertificateError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from proxy.settings import SettingsFile

_COLLECT_AFTER = 20_000  # objects; a request makes some hundreds that mostly go by themselves


async def serve_until_told(settings_file: SettingsFile) -> None:
    """Serve with these settings until SIGTERM or SIGINT."""
    settings = settings_file.current
    gc.set_threshold(_COLLECT_AFTER)
    async with running_app(settings_file) as app:
        click.echo(
            f"keepwarm {__version__}: {app.client_url} -> {settings.upstream.url}, admin {app.admin_url}", err=True
        )
        await serve_until_stopped(app)


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run the work on a loop of its own; a port that can't be listened on ends the program with that message."""
    loop_factory = None
    if sys.platform != "win32":
        import uvloop  # noqa: PLC0415 - not to be had on Windows

        loop_factory = uvloop.new_event_loop
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(work)
    except (ListenError, CertificateError) as error:
        raise click.ClickException(str(error)) from error
