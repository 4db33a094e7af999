"""Turns pydantic's errors into problems that a person can act on: place, key, what was expected, what stands there.

Never decides whether something is wrong.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from proxy.settings.errors import Place, Problem
from proxy.settings.keys import nearest, suggestion
from proxy.settings.values import LONGEST_CLIENT
from proxy.settings.yaml_loader import dotted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from proxy.settings.yaml_loader import Document, KeyPath

_LONGEST_VALUE: Final = 60


def problems(error: ValidationError, document: Document, origin: str) -> list[Problem]:
    """Return one problem for each error; `origin` is named where a value was not written anywhere."""
    return [_problem(details, document.places, origin) for details in error.errors(include_url=False)]


def _problem(details: ErrorDetails, places: Mapping[KeyPath, Place], origin: str) -> Problem:
    path = tuple(str(part) for part in details["loc"] if part != "[key]")
    path = _written(path, details, places)
    return Problem(places.get(path, Place(origin)), f"{dotted(_without_secrets(path))}: {_message(details, path)}")


def _without_secrets(path: KeyPath) -> KeyPath:
    """Cut what is too long for a client's name: it may be the key itself, written on the wrong side of the colon."""
    return tuple(f"{part[:4]}…" if path[0] == "access" and len(part) > LONGEST_CLIENT else part for part in path)


def _written(path: KeyPath, details: ErrorDetails, places: Mapping[KeyPath, Place]) -> KeyPath:
    """Return which of the contradicting keys is written somewhere; they are named from here or from the root."""
    keys: tuple[KeyPath, ...] = details.get("ctx", {}).get("keys", ())
    return next((key for suffix in keys for key in ((*path, *suffix), suffix) if key in places), path)


def _message(details: ErrorDetails, path: KeyPath) -> str:
    context = details.get("ctx", {})
    match details["type"]:
        case "extra_forbidden":
            return f"unknown key, {suggestion(path)}"
        case "conflict":
            return str(context["message"])
        case "expected":
            near = nearest(details["input"], context["choices"]) if isinstance(details["input"], str) else None
            hint = f", did you mean {near}?" if near else ""
            is_text = isinstance(details["input"], str)
            hidden = f"something else of {len(details['input'])} characters" if context["is_secret"] and is_text else ""
            return f"expected {context['expected']} (got {hidden or shown(details['input'])}){hint}"
        case _:  # a section or `models` that is no mapping: the only check left to pydantic
            return f"expected a mapping, 'key: value' lines indented below (got {shown(details['input'])})"


def shown(value: object) -> str:
    """Write a value as it stands in YAML, shortened, and without what may be a password in a URL."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case str():
            text = re.sub(r"//[^/]*@", "//…@", value if len(value) <= _LONGEST_VALUE else f"{value[:_LONGEST_VALUE]}…")
            return f"'{text}'"
    return str(value)
