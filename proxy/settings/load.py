"""From a YAML file and the environment to settings, and back to YAML. Never keeps anything; `reload` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml
from pydantic import ValidationError

from proxy.settings.environment import overlay
from proxy.settings.errors import SettingsError
from proxy.settings.problems import problems
from proxy.settings.schema import Settings
from proxy.settings.yaml_loader import Document, parse, read_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def load(path: Path | None, env: Mapping[str, str]) -> Settings:
    """Read the settings; blocking.

    Args:
        path: the YAML file; None: defaults and the environment only.
        env: `KEEPWARM_…` variables override single keys; OLLAMA_HOST is what `upstream.url: auto` means.

    Raises:
        SettingsError: The file cannot be read, or anything in it or in the environment is wrong: all problems at once.
    """
    document = Document({}, {}) if path is None else parse(read_text(path), str(path))
    overlay(document, env)
    found = list(document.problems)
    try:
        settings = Settings.model_validate(document.data)
    except ValidationError as error:
        found += problems(error, document, "settings" if path is None else str(path))
        raise SettingsError(*found) from error
    if found:
        raise SettingsError(*found)
    return settings


def show(settings: Settings) -> str:
    """Write settings as the YAML that gives the same settings."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
