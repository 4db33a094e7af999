"""What several commands have in common: options, and reading the settings file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
import platformdirs

from proxy.settings import SettingsError, SettingsFile

if TYPE_CHECKING:
    import os

_DEFAULT_ADMIN = "http://127.0.0.1:11436"
_USAGE_EXIT = 2

config_option = click.option(
    "--config",
    "-c",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="KEEPWARM_CONFIG",
    help="Settings file; default: keepwarm.yaml in your config directory if there is one, else the defaults.",
)
admin_option = click.option(
    "--admin", envvar="KEEPWARM_ADMIN_URL", default=_DEFAULT_ADMIN, show_default=True, help="Admin port of keepwarm."
)
token_option = click.option(
    "--token", envvar="KEEPWARM_ADMIN_TOKEN", help="Token of the admin port, if it asks for one (admin.token_sha256)."
)


def settings_file(config: Path | None, env: dict[str, str] | os._Environ[str]) -> SettingsFile:
    """Read the settings file, or the one in the user's config directory; exit 2 with all its errors."""
    default = platformdirs.user_config_path("keepwarm") / "keepwarm.yaml"
    path = config or (default if default.exists() else None)
    try:
        return SettingsFile(path, env)
    except SettingsError as error:
        refuse(error)


def refuse(error: SettingsError) -> NoReturn:
    """Print what is wrong with the settings, and exit 2."""
    for problem in error.problems:
        click.secho(problem, fg="red", err=True)
    sys.exit(_USAGE_EXIT)
