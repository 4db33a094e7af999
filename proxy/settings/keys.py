"""Which keys there are: their paths, their names as environment variables, and the nearest one to a misspelt one.

Never reads a value.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel

from proxy.settings.access import Allow
from proxy.settings.schema import Settings
from proxy.settings.sections import Model

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic.fields import FieldInfo

    from proxy.settings.yaml_loader import KeyPath

PREFIX: Final = "KEEPWARM_"


def _walk(section: type[BaseModel], path: KeyPath) -> Iterator[tuple[KeyPath, FieldInfo]]:
    for name, info in section.model_fields.items():
        nested = info.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            yield from _walk(nested, (*path, name))
        else:
            yield (*path, name), info


KEYS: Final[dict[KeyPath, FieldInfo]] = dict(_walk(Settings, ()))
"""Every key by its path, in the order of the file; `models` is one of them."""

ENTRIES: Final[dict[KeyPath, type[BaseModel] | None]] = {
    ("access", "keys"): None,
    ("access", "allow"): Allow,
    ("access", "weights"): None,
    ("models",): Model,
}
"""The keys below which a person chooses the names, and what stands below each name; None: one value."""

MODEL_KEYS: Final[tuple[str, ...]] = tuple(Model.model_fields)
"""The keys under one pattern of `models`."""

VARIABLES: Final[dict[str, KeyPath]] = {PREFIX + "_".join(path).upper(): path for path in KEYS if path not in ENTRIES}
"""The environment variable of each key; those of ENTRIES have none: a name cannot be part of a variable's name."""


def siblings(path: KeyPath) -> tuple[str, ...]:
    """Return the keys that may stand where this path's last part stands."""
    entry = next((kind for key, kind in ENTRIES.items() if path[: len(key)] == key and len(path) > len(key)), None)
    if entry is not None:
        return tuple(entry.model_fields)
    depth = len(path) - 1
    return tuple(dict.fromkeys(key[depth] for key in KEYS if key[:depth] == path[:depth] and len(key) > depth))


def suggestion(path: KeyPath) -> str:
    """Say what an unknown key may have meant: the nearest name, where a key of that name is, or all there are."""
    known = siblings(path)
    near = nearest(path[-1], known)
    elsewhere = [".".join(key) for key in KEYS if key[-1] == path[-1]]
    if near is not None or elsewhere:
        return f"did you mean {near or ' or '.join(elsewhere)}?"
    return f"known here: {', '.join(known)}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that looks most like this one, if any does."""
    by_lower_case = {name.lower(): name for name in known}
    matches = get_close_matches(word.lower().replace("-", "_"), by_lower_case, n=1)
    return by_lower_case[matches[0]] if matches else None
