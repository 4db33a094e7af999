"""Where the members of a JSON object stand in its bytes, and what they hold, read as Go reads them.

Walks over the top level only, skips strings with memchr, and is linear in the length of the text. Never changes a byte.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple, NoReturn

import msgspec

_SPACE, _QUOTE = 0x20, 0x22
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_TO_BRACKET = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_VALUE_END = re.compile(rb"[,}\s]")
_NOT_SPACE = re.compile(rb"[^ \t\r\n]")
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Member(NamedTuple):
    """A member's key, decoded, and where its value starts and ends."""

    key: str
    start: int
    end: int


def values_of(content: bytes) -> dict[str, bytes]:
    """Split a JSON object into its top-level values; of repeated keys the last.

    Half a character, which msgspec refuses and Go accepts, passes: then nothing is split.

    Raises:
        ValueError: it is no JSON object.
    """
    try:
        try:
            return {key: bytes(value) for key, value in _OBJECT.decode(content).items()}
        except ValueError:
            if not isinstance(decoded(content), dict):
                raise
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no JSON object: {error}") from error
    return {}


def decoded(content: bytes) -> Any:  # noqa: ANN401 - JSON
    """Read JSON as Go does: bytes that are no UTF-8 are replaced, NaN and Infinity refused."""
    try:
        return msgspec.json.decode(content)
    except ValueError:
        return _AS_GO.decode(content.decode(errors="replace"))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


_AS_GO = json.JSONDecoder(parse_constant=_refuse)


def members(content: bytes, values: dict[str, bytes]) -> list[Member]:
    """List the top-level members of a JSON object that is known to be valid, with the places of their values.

    Where the value that msgspec found for a key stands, its length tells where it ends; a repeated key is scanned.
    """
    found: list[Member] = []
    at = next_at(content, next_at(content, 0) + 1)
    while content[at] == _QUOTE:
        key_end = _string_end(content, at)
        written = content[at:key_end]
        key = decoded(written)
        start = next_at(content, next_at(content, key_end) + 1)
        end = start + len(value) if (value := values.get(key)) and content.startswith(value, start) else 0
        at = next_at(content, end)
        if content[at : at + 1] not in (b",", b"}"):  # another value of a repeated key begins alike
            end = _value_end(content, start)
            at = next_at(content, end)
        found.append(Member(key, start, end))
        if content[at : at + 1] == b",":
            at = next_at(content, at + 1)
    return found


def next_at(content: bytes, at: int) -> int:
    """Return where the next character that is no white space stands, from `at` on."""
    if at < len(content) and content[at] > _SPACE:
        return at
    found = _NOT_SPACE.search(content, at)
    return found.start() if found else len(content)


def _string_end(content: bytes, start: int) -> int:
    found = _STRING.match(content, start)
    return found.end() if found else len(content)


def _value_end(content: bytes, start: int) -> int:
    if content[start] == _QUOTE:
        return _string_end(content, start)
    if content[start : start + 1] not in (b"{", b"["):
        found = _VALUE_END.search(content, start)
        return found.start() if found else len(content)
    depth, at = 1, start + 1
    while depth:
        run = _TO_BRACKET.match(content, at)
        at = run.end() + 1 if run else len(content)
        depth += 1 if content[at - 1] in b"{[" else -1
    return at
