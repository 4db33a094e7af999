"""Reads the few fields of a model request that matter and writes keep_alive into it; never touches another byte.

Ollama reads JSON as Go does: keys in any case, of repeated keys the last one wins, null leaves a string as it is.
The scan walks over the top level only, skips strings with memchr, and is linear in the length of the body.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple, NoReturn

import msgspec

from proxy.domain.effects import KeepAlive
from proxy.domain.model import RUNNER_OPTIONS, Endpoint, JsonScalar, ModelRequest, RunnerOptions, canonical
from proxy.domain.units import parse_duration

_SPACE, _QUOTE = 0x20, 0x22
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_TO_BRACKET = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_VALUE_END = re.compile(rb"[,}\s]")
_NOT_SPACE = re.compile(rb"[^ \t\r\n]")
_SHORTEST_SECONDS = 1e-9
"""Go counts whole nanoseconds: less of one is nothing."""

_READ = frozenset({"model", "keep_alive", "options", "shift", "prompt", "messages"})
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_KEYS = {b'"%s"' % key.encode(): key for key in _READ}


_NO_OPTIONS = RunnerOptions()


class _Member(NamedTuple):
    key: str
    start: int
    end: int


_Plain = msgspec.defstruct("_Plain", [(key, msgspec.Raw, msgspec.Raw()) for key in sorted(_READ)])
_PLAIN = msgspec.json.Decoder(_Plain)
_UNICODE_ESCAPE, _KELVIN, _LONG_S = b"\\u", "\u212a".encode(), "\u017f".encode()


class ModelBody:
    """The JSON body of a model request.

    Raises:
        ValueError: the bytes are no JSON object, or name no model: the request should pass as it came.
    """

    def __init__(self, endpoint: Endpoint, content: bytes) -> None:
        self._content = content
        members = _plain_members(content)
        if members is None:
            members = [member for member in _members(content, _values(content)) if member.key in _READ]
        self._members = members
        self.request = self._read(endpoint)

    def with_keep_alive(self, keep_alive: int | KeepAlive) -> bytes:
        """Return the body with this keep_alive in seconds; withheld: null, which Ollama counts as absent."""
        if keep_alive is KeepAlive.AS_IT_CAME:
            return self._content
        asked = [member for member in self._members if member.key == "keep_alive"]
        if keep_alive is KeepAlive.WITHHELD:
            return self._replaced(asked, b"null")
        value = b"%d" % keep_alive
        return self._replaced(asked, value) if asked else self._added(value)

    def _replaced(self, members: list[_Member], value: bytes) -> bytes:
        parts, done = [], 0
        for member in members:
            parts += [self._content[done : member.start], value]
            done = member.end
        return b"".join([*parts, self._content[done:]])

    def _added(self, value: bytes) -> bytes:
        """Any member that is there, model at least, stands before it: a comma is always due."""
        end = self._content.rindex(b"}")
        return b"".join([self._content[:end], b',"keep_alive":', value, self._content[end:]])

    def _read(self, endpoint: Endpoint) -> ModelRequest:
        fields = self._fields()
        model = fields.get("model")
        if not isinstance(model, str) or not model.strip():
            msg = "the body names no model"
            raise ValueError(msg)
        if not endpoint.carries_keep_alive:
            return ModelRequest(canonical(model), endpoint)
        keep_alive = _keep_alive_seconds(fields.get("keep_alive"))
        return ModelRequest(
            canonical(model),
            endpoint,
            _runner_options(fields.get("options"), fields.get("shift")),
            keep_alive,
            is_unload=keep_alive == 0 and _asks_nothing(endpoint, fields),
        )

    def _fields(self) -> dict[str, Any]:
        """Merge repeated keys as Go does: the last wins, objects merge, null keeps a string and drops the rest."""
        fields: dict[str, Any] = {}
        for member in self._members:
            value = _value(self._content[member.start : member.end], member.key)
            earlier = fields.get(member.key)
            if value is None and member.key in {"model", "prompt"}:
                continue
            merges = isinstance(value, dict) and isinstance(earlier, dict)
            fields[member.key] = earlier | value if merges else value
        return fields


def _plain_members(content: bytes) -> list[_Member] | None:
    """List the members that are read, by the quick way; None: their keys are spelt oddly or not once, or no JSON.

    A name between quotes that stands nowhere else, in any case, and that msgspec has seen as a key, is that key.
    """
    try:
        plain = _PLAIN.decode(content)
    except (ValueError, RecursionError):
        return None
    if _UNICODE_ESCAPE in content or _KELVIN in content or _LONG_S in content:  # a key may not be what it looks like
        return None
    lowered = content.lower()
    members: list[_Member] = []
    for written, key in _KEYS.items():
        at, length = lowered.find(written), len(getattr(plain, key))
        if at >= 0:
            if not length or lowered.find(written, at + 1) >= 0:
                return None
            start = _next(content, _next(content, at + len(written)) + 1)
            members.append(_Member(key, start, start + length))
    return members


def _values(content: bytes) -> dict[str, bytes]:
    """Split a JSON object into its top-level values; of repeated keys the last.

    Half a character, which msgspec refuses and Go accepts, passes: then nothing is split.
    """
    try:
        try:
            return {key: bytes(value) for key, value in _OBJECT.decode(content).items()}
        except ValueError:
            if not isinstance(_decoded(content), dict):
                raise
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no JSON object: {error}") from error
    return {}


def _decoded(content: bytes) -> Any:  # noqa: ANN401 - JSON
    """Read JSON as Go does: bytes that are no UTF-8 are replaced, NaN and Infinity refused."""
    try:
        return msgspec.json.decode(content)
    except ValueError:
        return _AS_GO.decode(content.decode(errors="replace"))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


_AS_GO = json.JSONDecoder(parse_constant=_refuse)


def _folded(key: str) -> str:
    """Fold a key rune by rune, as Go does: the Kelvin sign and the long s count as k and s."""
    return key.lower().replace("\u017f", "s")


def _value(content: bytes, key: str) -> Any:  # noqa: ANN401 - JSON
    """Decode a field; of messages and prompt only whether they are empty matters, so they are not decoded."""
    if key == "prompt" and content != b"null":
        return content != b'""'
    if key == "messages" and content != b"null":
        return content.strip(b" \t\r\n[]") != b""
    return _decoded(content)


def _asks_nothing(endpoint: Endpoint, fields: dict[str, Any]) -> bool:
    if endpoint is Endpoint.GENERATE:
        return not fields.get("prompt")
    return endpoint is Endpoint.CHAT and not fields.get("messages")


def _keep_alive_seconds(value: Any) -> float | None:  # noqa: ANN401 - JSON
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        try:
            return parse_duration(value)
        except ValueError:
            return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return 0.0 if 0 <= seconds < _SHORTEST_SECONDS else seconds


def _runner_options(options: Any, shift: Any) -> RunnerOptions:  # noqa: ANN401 - JSON
    if not isinstance(options, dict) and not isinstance(shift, bool):
        return _NO_OPTIONS
    values: list[tuple[str, JsonScalar]] = []
    for key in sorted(RUNNER_OPTIONS & options.keys()) if isinstance(options, dict) else ():
        value = options[key]
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        automatic = key == "num_gpu" and isinstance(value, int) and value < 0
        if isinstance(value, int | float | str | bool) and not automatic:
            values.append((key, value))
    return RunnerOptions(tuple(values), shift if isinstance(shift, bool) else None)


def _members(content: bytes, values: dict[str, bytes]) -> list[_Member]:
    """List the top-level members of a JSON object that is known to be valid, with the places of their values.

    Where the value that msgspec found for a key stands, its length tells where it ends; a repeated key is scanned.
    """
    members: list[_Member] = []
    at = _next(content, _next(content, 0) + 1)
    while content[at] == _QUOTE:
        key_end = _string_end(content, at)
        written = content[at:key_end]
        key = _KEYS.get(written) or _decoded(written)
        start = _next(content, _next(content, key_end) + 1)
        end = start + len(value) if (value := values.get(key)) and content.startswith(value, start) else 0
        at = _next(content, end)
        if content[at : at + 1] not in (b",", b"}"):  # another value of a repeated key begins alike
            end = _value_end(content, start)
            at = _next(content, end)
        members.append(_Member(_folded(key), start, end))
        if content[at : at + 1] == b",":
            at = _next(content, at + 1)
    return members


def _next(content: bytes, at: int) -> int:
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
