"""The command line: every command, one file for each family. `main` is the program."""

from __future__ import annotations

import click

from proxy import __version__
from proxy.cli.demo import demo
from proxy.cli.inspect import check, explain, status
from proxy.cli.key import key
from proxy.cli.recommend import recommend
from proxy.cli.replay import replay
from proxy.cli.serve import serve


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="keepwarm")
def main() -> None:
    """Keep the right Ollama models in GPU memory."""


for command in (serve, check, status, explain, replay, recommend, key, demo):
    main.add_command(command)
