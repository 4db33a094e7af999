"""`keepwarm serve`: the proxy in front of Ollama."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import click

from proxy.cli.demo import run_demo
from proxy.cli.options import config_option, settings_file
from proxy.cli.running import run, serve_until_told
from proxy.sim.site import SimulatedOllamaOptions

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@config_option
@click.option("--or-demo", is_flag=True, help="Where no Ollama answers, start the simulated one.")
def serve(config: Path | None, *, or_demo: bool) -> None:
    """Run the proxy in front of Ollama."""
    found = settings_file(config, os.environ)
    if or_demo and not _answers(found.current.upstream.url):
        click.secho(f"No Ollama answers at {found.current.upstream.url}.", fg="yellow", err=True)
        run_demo(config, SimulatedOllamaOptions(), 0)
        return
    run(serve_until_told(found))


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/api/version", timeout=2):  # noqa: S310 - http(s), by the settings
            return True
    except (urllib.error.URLError, OSError, ValueError):
        return False
