"""Strict YAML for settings: plain data that remembers the line and column of every key.

Never guesses as YAML 1.1 does (`on` is a text, `1:30` is a text, `010` is a text), never lets a duplicate key win
silently, and never builds anything but mappings, lists, texts, numbers, true, false and null.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import yaml

from proxy.settings.errors import Place, Problem, SettingsError

if TYPE_CHECKING:
    from pathlib import Path

SIZE_LIMIT_BYTES: Final = 1024 * 1024
_DEEPEST_NESTING: Final = 20
_NO_ANCHORS: Final = "anchors and aliases are not used here; a text that begins with '*' or '&' needs quotes"

Scalar = str | int | float | bool | None
KeyPath = tuple[str, ...]


class StrictLoader(yaml.SafeLoader):
    """SafeLoader that resolves only null, true, false and plain numbers, and refuses what hides a value's origin."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own way
    nesting = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401 - PyYAML's own
        """Compose as PyYAML does, but without anchors, aliases and tags, and only so deep."""
        event = self.peek_event()  # type: ignore[no-untyped-call]  # not in its stubs
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.MarkedYAMLError(problem=_NO_ANCHORS, problem_mark=event.start_mark)
        if getattr(event, "tag", None):
            raise yaml.MarkedYAMLError(problem="tags ('!…') are not used here", problem_mark=event.start_mark)
        self.nesting += 1
        if self.nesting > _DEEPEST_NESTING:
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.nesting -= 1
        return node


_SCALARS: Final = (
    ("tag:yaml.org,2002:null", r"(?:null|~|)\Z", ["n", "~", ""]),
    ("tag:yaml.org,2002:bool", r"(?:true|false)\Z", ["t", "f"]),
    ("tag:yaml.org,2002:int", r"[-+]?(?:0|[1-9][0-9]{0,18})\Z", list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?\Z",
        list("-+.0123456789"),
    ),
)
for _tag, _pattern, _first in _SCALARS:
    StrictLoader.add_implicit_resolver(_tag, re.compile(_pattern), _first)


@dataclass(frozen=True)
class Document:
    """What a settings file says.

    Attributes:
        data: nested mappings with texts as keys.
        places: where each key stands, by its path from the root.
        problems: what is wrong without being no YAML, as duplicate keys are.
    """

    data: dict[str, Any]
    places: dict[KeyPath, Place]
    problems: list[Problem] = field(default_factory=list)


def read_text(path: Path) -> str:
    """Read a settings file; blocking.

    Raises:
        SettingsError: It cannot be read, is larger than 1 MiB or is no UTF-8 text.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(SIZE_LIMIT_BYTES + 1)
    except OSError as error:
        raise SettingsError(Problem(Place(str(path)), f"cannot be read: {error.strerror}")) from error
    if len(raw) > SIZE_LIMIT_BYTES:
        raise SettingsError(Problem(Place(str(path)), "expected at most 1 MiB of settings"))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = Place.after(str(path), raw[: error.start].decode("utf-8-sig", errors="replace"))
        raise SettingsError(Problem(place, f"expected UTF-8 text (got byte 0x{raw[error.start]:02x})")) from error


def parse(text: str, origin: str) -> Document:
    """Parse the text of a settings file; `origin` names it in messages.

    Raises:
        SettingsError: It is no YAML, holds several documents, or is no mapping.
    """
    try:
        loader = StrictLoader(text)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place.of(origin, mark) if mark else Place(origin)
        raise SettingsError(Problem(place, _explain(error))) from error
    except yaml.reader.ReaderError as error:
        place = Place.after(origin, text[: error.position])
        raise SettingsError(
            Problem(place, f"expected printable text (got character {error.character:#06x})")
        ) from error
    document = Document({}, {})
    if root is None or _is_null(root):
        return document
    if not isinstance(root, yaml.MappingNode):
        place = Place.of(origin, root.start_mark)
        raise SettingsError(Problem(place, "expected 'key: value' lines such as 'policy: adaptive'"))
    document.data.update(_Builder(origin, document).mapping(root, ()))
    return document


def resolve(text: str) -> Scalar:
    """Read one plain scalar as the file would: 'true' → True, '5' → 5, '5ms' → '5ms', '' → None."""
    tag = StrictLoader("").resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]  # as above
    return _scalar(tag, text)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")


def _scalar(tag: str, text: str) -> Scalar:
    match tag.rpartition(":")[2]:
        case "null":
            return None
        case "bool":
            return text == "true"
        case "int":
            return int(text)
        case "float":
            return float(text)
    return text


@dataclass(frozen=True)
class _Builder:
    """Turns nodes into data and notes each key's place and each duplicate."""

    origin: str
    document: Document

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = Place.of(self.origin, key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode):
                raise SettingsError(
                    Problem(place, "expected a key of one word, in quotes if it begins with '[' or '{'")
                )
            key_path = (*path, key_node.value)
            if key_node.value in data:
                first = self.document.places[key_path]
                message = f"{dotted(key_path)}: duplicate key, it stands in line {first.line} already"
                self.document.problems.append(Problem(place, message))
                continue
            self.document.places[key_path] = place
            data[key_node.value] = self.value(value_node, key_path)
        return data

    def value(self, node: yaml.Node, path: KeyPath) -> object:
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, path) for item in node.value]
        return _scalar(node.tag, str(node.value))


def dotted(path: KeyPath) -> str:
    """Write a key's path as messages show it; a part that is no plain word stands in quotes: models."qwen*".pin."""
    return ".".join(part if re.fullmatch(r"[\w-]+", part) else f'"{part}"' for part in path)


def _explain(error: yaml.MarkedYAMLError) -> str:
    """Say in plain English what PyYAML means."""
    problem = error.problem or "no YAML"
    if r"'\t'" in problem:
        return "expected spaces (got a tab): YAML is indented with spaces only"
    if "another document" in problem:
        return "expected one document (got a second one after '---')"
    if error.context in ("while scanning an alias", "while scanning an anchor"):
        return _NO_ANCHORS
    return f"expected YAML {error.context}: {problem}" if error.context else problem
