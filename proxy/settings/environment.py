"""Settings from environment variables: which variable overrides which key. Never reads the environment by itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from proxy.settings.address import DEFAULT_UPSTREAM
from proxy.settings.errors import Place, Problem
from proxy.settings.keys import PREFIX, VARIABLES, nearest
from proxy.settings.values import AUTO
from proxy.settings.yaml_loader import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from proxy.settings.yaml_loader import Document, KeyPath

_COMMAND_LINE: Final = ("KEEPWARM_CONFIG", "KEEPWARM_ADMIN_URL", "KEEPWARM_ADMIN_TOKEN")
"""Options of the command line, not settings."""

_KUBERNETES: Final = re.compile(
    r"KEEPWARM_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)
"""What Kubernetes sets in every container beside a Service named keepwarm."""


def overlay(document: Document, env: Mapping[str, str]) -> None:
    """Put the values of `KEEPWARM_…` variables over the file's, and note variables that mean no key as problems.

    An empty variable counts as not set. OLLAMA_HOST counts where neither the file nor KEEPWARM_UPSTREAM_URL says
    another upstream than `auto`.
    """
    for name, text in _set_variables(env):
        path = VARIABLES.get(name)
        if path is None:
            document.problems.append(Problem(Place(name), f"unknown setting, {_hint(name)}"))
        else:
            _put(document, path, resolve(text), Place(name))
    _put_ollama_host(document, env.get("OLLAMA_HOST", ""))


def _set_variables(env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in sorted(env):
        text = env[name].strip()
        ours = name.startswith(PREFIX) and name not in _COMMAND_LINE and not _KUBERNETES.fullmatch(name)
        if ours and text:
            yield name, text


def _hint(name: str) -> str:
    by_rest = {known.removeprefix(PREFIX): known for known in VARIABLES}
    near = nearest(name.removeprefix(PREFIX), by_rest)
    return f"did you mean {by_rest[near]}?" if near else "docs/settings.md lists all of them"


def _put_ollama_host(document: Document, text: str) -> None:
    """Use OLLAMA_HOST as Ollama itself reads it: without spaces and quotes around it."""
    upstream = document.data.get("upstream") or {}
    host = text.strip().strip("\"'")
    if host and isinstance(upstream, dict) and upstream.get("url", AUTO) == AUTO:
        _put(document, ("upstream", "url"), host if host != AUTO else DEFAULT_UPSTREAM, Place("OLLAMA_HOST"))


def _put(document: Document, path: KeyPath, value: Any, place: Place) -> None:  # noqa: ANN401 - whatever was written
    """Set one value; a section that is no mapping stays as it is, to be reported."""
    section: Any = document.data
    for part in path[:-1]:
        if section.get(part) is None:
            section[part] = {}
        section = section[part]
        if not isinstance(section, dict):
            return
    section[path[-1]] = value
    document.places[path] = place
