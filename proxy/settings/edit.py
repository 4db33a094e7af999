"""Changes single values in the text of a settings file; every other character stays, comments too.

Never guesses: what is not written as 'key: value' on a line of its own is refused, and so is a change after which the
file would say anything else than before but for these values.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from proxy.settings.errors import SettingsError
from proxy.settings.yaml_loader import KeyPath, StrictLoader, dotted, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

_INDENT: Final = 2

Value = str | int | bool


class UneditableError(Exception):
    """The file is not written so that the value could be changed in place; the text says why."""


def changed(text: str, values: Mapping[KeyPath, Value]) -> str:
    """Return the text of a settings file with these values: keys that are there get them, others are added.

    Raises:
        UneditableError: that cannot be done without touching anything else.
        SettingsError: the text is no YAML.
    """
    expected = _with_values(parse(text, "the settings").data, values)
    new = text
    for path, value in values.items():
        new = _with_value(new, path, _written(value))
    try:
        said = parse(new, "the new text")
    except SettingsError as error:
        raise UneditableError(f"the result would be no YAML ({error})") from error
    if said.problems or said.data != expected:
        raise UneditableError("the result would say something else than was asked for")
    return new


def as_yaml(values: Mapping[KeyPath, Value]) -> str:
    """Write values as the lines of a settings file, to be pasted."""
    return yaml.safe_dump(_with_values({}, values), sort_keys=False, allow_unicode=True)


def replace_file(path: Path, text: str) -> None:
    """Put the new text in place of the file's, at once and with its permissions; a link stays one.

    Raises:
        OSError: it cannot be written.
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", newline="", dir=target.parent, prefix=f".{target.name}.", delete=False
    ) as file:
        file.write(text)
    try:
        if target.exists():
            shutil.copymode(target, file.name)
        Path(file.name).replace(target)
    except OSError:
        Path(file.name).unlink()
        raise


def _with_value(text: str, path: KeyPath, value: str) -> str:
    found = _Found(text, path)
    if found.depth == len(path):
        return _replaced(text, path, found, value)
    line_end = "\r\n" if "\r\n" in text else "\n"
    added = "".join(line + line_end for line in _nested(path[found.depth :], value, found.column))
    if found.depth == 0:
        after = len(text)
    elif isinstance(found.node, yaml.MappingNode) and found.node.flow_style:
        raise UneditableError(f"{dotted(path[: found.depth])} is written in braces")
    else:
        after = text.find("\n", found.key_end) + 1 or len(text)
    gap = line_end if after and text[after - 1] != "\n" else ""
    return text[:after] + gap + added + text[after:]


class _Found:
    """How much of a path is there, and where.

    Attributes:
        depth: how many of its keys are there.
        node: the value of the last of them.
        key_end: where that key ends in the text; 0: none is there.
        column: where the keys below it begin.
    """

    def __init__(self, text: str, path: KeyPath) -> None:
        self.node: yaml.Node | None = StrictLoader(text).get_single_node()
        self.depth, self.key_end = 0, 0
        for key in path:
            pairs = self.node.value if isinstance(self.node, yaml.MappingNode) else ()
            pair = next((pair for pair in pairs if pair[0].value == key), None)
            if pair is None:
                break
            self.depth, self.key_end, self.node = self.depth + 1, int(pair[0].end_mark.index), pair[1]

    @property
    def column(self) -> int:
        """As far in as the others there, two further in than the section where there are none."""
        if isinstance(self.node, yaml.MappingNode) and self.node.value:
            return int(self.node.value[0][0].start_mark.column)
        return _INDENT * self.depth


def _replaced(text: str, path: KeyPath, found: _Found, value: str) -> str:
    if not isinstance(found.node, yaml.ScalarNode):
        raise UneditableError(f"{dotted(path)} is no single value")
    start, end = int(found.node.start_mark.index), int(found.node.end_mark.index)
    if "\n" in text[start:end]:
        raise UneditableError(f"the value of {dotted(path)} goes over several lines")
    if start == end:  # nothing stands behind the colon
        start = end = text.index(":", found.key_end) + 1
        value = f" {value}"
    return text[:start] + value + text[end:]


def _nested(path: KeyPath, value: str, column: int) -> list[str]:
    keys = [f"{' ' * (column + _INDENT * depth)}{_written(key)}:" for depth, key in enumerate(path)]
    return [*keys[:-1], f"{keys[-1]} {value}"]


def _written(value: Value) -> str:
    return yaml.safe_dump(value, allow_unicode=True).removesuffix("\n").removesuffix("\n...")


def _with_values(data: dict[str, Any], values: Mapping[KeyPath, Value]) -> dict[str, Any]:
    new = deepcopy(data)
    for path, value in values.items():
        section = new
        for key in path[:-1]:
            if not isinstance(section.get(key), dict):
                section[key] = {}
            section = section[key]
        section[path[-1]] = value
    return new
