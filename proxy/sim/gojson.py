"""Request bodies as Ollama reads them: keys in any case, the last of repeated ones wins, errors as Go's; pure."""

from __future__ import annotations

import json
import re
from typing import Any

from proxy.sim.models import FOREVER_SECONDS

_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONG_S = "\u017f"  # Go folds it into s
_TERM = re.compile(r"(\d+(?:\.\d*)?|\.\d+)([^\d.]*)")
_GO_TYPES: dict[type, str] = {str: "string", bool: "bool", int: "int", dict: "map[string]interface {}", list: "[]"}
_JSON_KINDS: dict[type, str] = {
    str: "string",
    bool: "bool",
    int: "number",
    float: "number",
    dict: "object",
    list: "array",
}
_GO_KINDS: dict[type, str] = {bool: "bool", list: "[]interface {}", dict: "map[string]interface {}"}


class BadBodyError(ValueError):
    """The body cannot be read; the text is Go's."""


class _Object(dict[str, Any]):
    """A JSON object that still knows its keys in order, repeated ones included."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def _refuse(constant: str) -> float:
    raise BadBodyError(f"invalid character '{constant[0]}' looking for beginning of value")


_DECODER = json.JSONDecoder(object_pairs_hook=_Object, parse_constant=_refuse)


def decode(body: bytes, go_type: str, fields: dict[str, type]) -> dict[str, Any]:
    """The known fields of a request's body; null counts as absent, what follows the first JSON value is ignored.

    Args:
        body: The body as it came.
        go_type: What Go's error messages call the request, such as `api.ChatRequest`.
        fields: Names of the fields that are read, and their types; `object` takes anything.

    Raises:
        BadBodyError: It is no JSON object, or a field has the wrong type.
    """
    text = body.decode("utf-8", errors="replace").lstrip()
    if not text:
        raise BadBodyError("EOF")
    try:
        value, _ = _DECODER.raw_decode(text)
    except json.JSONDecodeError as error:
        at_end = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
        what = "unexpected EOF" if at_end else f"invalid character '{text[error.pos]}' looking for beginning of value"
        raise BadBodyError(what) from None
    if value is None:
        return {}
    if not isinstance(value, _Object):
        raise BadBodyError(f"json: cannot unmarshal {_JSON_KINDS[type(value)]} into Go value of type {go_type}")
    read: dict[str, Any] = {}
    for key, content in value.pairs:
        name = key.lower().replace(_LONG_S, "s")
        if name not in fields or (content is None and fields[name] in (str, int)):
            continue  # to Go, null leaves a string or a number as it is
        checked = _checked(content, fields[name], f"{go_type.rpartition('.')[2]}.{name}")
        earlier = read.get(name)
        read[name] = earlier | checked if isinstance(earlier, dict) and isinstance(checked, dict) else checked
    return {name: content for name, content in read.items() if content is not None}


def _checked(content: object, wanted: type, place: str) -> object:
    fits = content is None or wanted is object or isinstance(content, wanted)
    if fits and not (wanted is int and isinstance(content, bool)):
        return content
    kind = _JSON_KINDS[type(content) if type(content) in _JSON_KINDS else dict]
    raise BadBodyError(f"json: cannot unmarshal {kind} into Go struct field {place} of type {_GO_TYPES[wanted]}")


def keep_alive_seconds(value: object) -> float | None:
    """What a `keep_alive` means.

    Args:
        value: A number of seconds, or a Go duration such as `"1h30m"`; negative is for ever, None is absent.

    Raises:
        BadBodyError: It is neither.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        kind = next(name for known, name in _GO_KINDS.items() if isinstance(value, known))
        raise BadBodyError(f"Unsupported type: '{kind}'")
    seconds = _duration_seconds(value) if isinstance(value, str) else float(value)
    return FOREVER_SECONDS if seconds < 0 else min(seconds, FOREVER_SECONDS)


def _duration_seconds(text: str) -> float:
    sign = -1.0 if text.startswith("-") else 1.0
    rest = text.removeprefix("-") if sign < 0 else text.removeprefix("+")
    if rest == "0":
        return 0.0
    seconds, end = 0.0, 0
    while end < len(rest) and (term := _TERM.match(rest, end)):
        number, unit = term.groups()
        if not unit:
            raise BadBodyError(f'time: missing unit in duration "{text}"')
        if unit not in _UNIT_SECONDS:
            raise BadBodyError(f'time: unknown unit "{unit}" in duration "{text}"')
        seconds += float(number) * _UNIT_SECONDS[unit]
        end = term.end()
    if not rest or end < len(rest):
        raise BadBodyError(f'time: invalid duration "{text}"')
    return sign * seconds
