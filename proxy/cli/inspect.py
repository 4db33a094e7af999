"""`keepwarm check`, `status`, `explain`: look at settings and at a running proxy. Change nothing."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from proxy.admin_client import AdminError, ask
from proxy.cli.options import admin_option, refuse, token_option
from proxy.settings import SettingsError, load, open_doors, show
from proxy.status import status_table

_WATCH_SECONDS = 2.0


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--show", "show_settings", is_flag=True, help="Print the effective settings.")
def check(file: Path, *, show_settings: bool) -> None:
    """Check a settings file: print all its errors, exit 2 if there are any; warn of what is open to others."""
    try:
        settings = load(file, os.environ)
    except SettingsError as error:
        refuse(error)
    for warning in open_doors(settings):
        click.secho(f"warning: {warning}", fg="yellow", err=True)
    click.echo(show(settings) if show_settings else f"{file}: good")


@click.command()
@admin_option
@token_option
@click.option("--watch", is_flag=True, help="Print it again every 2 seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole state as JSON.")
def status(admin: str, token: str | None, *, watch: bool, as_json: bool) -> None:
    """Show which models are resident, until when, and why."""
    while True:
        state = _ask(admin, "/state", "residents", token)
        text = json.dumps(state, indent=2) if as_json else status_table(state)
        if watch:
            click.clear()
        click.echo(text)
        if not watch:
            return
        time.sleep(_WATCH_SECONDS)


@click.command()
@click.argument("model")
@admin_option
@token_option
def explain(model: str, admin: str, token: str | None) -> None:
    """Show the numbers behind the last decisions about MODEL."""
    found = _ask(admin, f"/models/{quote(model, safe='')}/explain", "decisions", token)
    decisions = found.pop("decisions")
    for name, value in found.items():
        click.echo(f"{name.replace('_', ' '):32} {value}")
    click.echo("last decisions:")
    for decision in decisions:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(decision["at"]))
        click.echo(f"  {moment}  {decision['text']}")


def _ask(admin: str, path: str, expected: str, token: str | None) -> dict[str, Any]:
    try:
        return ask(admin, path, expected, token)
    except AdminError as error:
        raise click.ClickException(str(error)) from error
