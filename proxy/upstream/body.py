"""Reads the few fields of a model request that matter, writes keep_alive and num_ctx; never touches another byte.

Ollama reads JSON as Go does: keys in any case, of repeated keys the last one wins, null leaves a string as it is. The
keys inside `options` count as they are written, and repeated `options` are merged.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from proxy.domain.effects import KeepAlive
from proxy.domain.model import RUNNER_OPTIONS, Endpoint, JsonScalar, ModelRequest, RunnerOptions, canonical
from proxy.domain.units import parse_duration
from proxy.upstream.json_members import Member, decoded, members, values_of

_SHORTEST_SECONDS = 1e-9
"""Go counts whole nanoseconds: less of one is nothing."""

_READ = {key: b'"%s"' % key.encode() for key in ("model", "keep_alive", "options", "shift", "prompt", "messages")}
"""The keys that matter, and how they are written."""

_CHANGED = frozenset({"keep_alive", "options"})

_NO_OPTIONS = RunnerOptions()
_NOWHERE = Member("", 0, 0)
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_UNICODE_ESCAPE = b"\\u"
_Edit: TypeAlias = tuple[int, int, bytes]  # start, end, and what to write in place of the bytes between


class ModelBody:
    """The JSON body of a model request.

    Raises:
        ValueError: the bytes are no JSON object, or name no model: the request should pass as it came.
    """

    def __init__(self, endpoint: Endpoint, content: bytes) -> None:
        self._content = content
        fields = _plain_fields(content)
        if fields is None:
            fields = _merged(_values(content))
        self._members = [] if _CHANGED.isdisjoint(fields) else _changeable(content)
        self.request = _request(endpoint, fields)

    def with_values(self, keep_alive: int | KeepAlive, num_ctx: int | None = None) -> bytes:
        """Return the body with these values.

        Args:
            keep_alive: in seconds; withheld: null, which Ollama counts as absent; or as it came.
            num_ctx: context length in tokens, > 0; None: as it came.
        """
        edits = [] if keep_alive is KeepAlive.AS_IT_CAME else self._keep_alive_edits(keep_alive)
        if num_ctx is not None:
            edits = sorted(edits + self._num_ctx_edits(num_ctx))
        parts, done = [], 0
        for start, end, value in edits:
            parts += [self._content[done:start], value]
            done = end
        return b"".join([*parts, self._content[done:]]) if parts else self._content

    def _keep_alive_edits(self, keep_alive: int | KeepAlive) -> list[_Edit]:
        value = b"null" if isinstance(keep_alive, KeepAlive) else b"%d" % keep_alive
        asked = [(member.start, member.end, value) for member in self._members if member.key == "keep_alive"]
        return asked if asked or value == b"null" else [self._added(b'"keep_alive":' + value)]

    def _num_ctx_edits(self, num_ctx: int) -> list[_Edit]:
        """Into the last options, which win over the earlier ones; options that are no object Ollama refuses anyway."""
        written = b'"num_ctx":%d' % num_ctx
        _, start, end = next((member for member in reversed(self._members) if member.key == "options"), _NOWHERE)
        options = self._content[start:end]
        if options in (b"", b"null"):  # null drops the options before it, so others must come after
            return [self._added(b'"options":{%s}' % written)]
        if not options.startswith(b"{"):
            return []
        found = members(options, values_of(options))
        asked = [(start + m.start, start + m.end, b"%d" % num_ctx) for m in found if m.key == "num_ctx"]
        return asked or [(end - 1, end - 1, b"," + written if found else written)]

    def _added(self, member: bytes) -> _Edit:
        """Any member that is there, model at least, stands before it: a comma is always due."""
        end = self._content.rindex(b"}")
        return end, end, b"," + member


def _changeable(content: bytes) -> list[Member]:
    """Find the values that may be changed: with the rest, as a large body is read in a thread, not on the loop."""
    folded = (member._replace(key=_folded(member.key)) for member in members(content, values_of(content)))
    return [member for member in folded if member.key in _CHANGED]


def _request(endpoint: Endpoint, fields: dict[str, Any]) -> ModelRequest:
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


def _merged(values: list[tuple[str, bytes]]) -> dict[str, Any]:
    """Merge repeated keys as Go does: the last wins, objects merge, null keeps a string and drops the rest."""
    fields: dict[str, Any] = {}
    for key, content in values:
        value = _value(content, key)
        earlier = fields.get(key)
        if value is None and key in {"model", "prompt"}:
            continue
        merges = isinstance(value, dict) and isinstance(earlier, dict)
        fields[key] = earlier | value if merges else value
    return fields


def _values(content: bytes) -> list[tuple[str, bytes]]:
    """List what is read, repeated keys too."""
    found = ((_folded(key), content[start:end]) for key, start, end in members(content, values_of(content)))
    return [(key, value) for key, value in found if key in _READ]


def _plain_fields(content: bytes) -> dict[str, Any] | None:
    """Read the fields by the quick way; None: the keys are spelt oddly or not once, or it is no JSON.

    A name between quotes that stands nowhere else, and that msgspec has seen as a key, is that key.
    """
    try:
        plain = _OBJECT.decode(content)
    except (ValueError, RecursionError):
        return None
    if _UNICODE_ESCAPE in content:  # a key may not be what it looks like
        return None
    fields = {}
    for key, value in plain.items():
        written = _READ.get(key)
        if written is None:
            if _folded(key) in _READ:
                return None
        elif content.count(written) == 1:
            fields[key] = _value(bytes(value), key)
        else:
            return None
    return fields


def _folded(key: str) -> str:
    """Fold a key rune by rune, as Go does: the Kelvin sign and the long s count as k and s."""
    return key.lower().replace("\u017f", "s")


def _value(content: bytes, key: str) -> Any:  # noqa: ANN401 - JSON
    """Decode a field; of messages and prompt only whether they are empty matters, so they are not decoded."""
    if key == "prompt" and content != b"null":
        return content != b'""'
    if key == "messages" and content != b"null":
        return content.strip(b" \t\r\n[]") != b""
    return decoded(content)


def _asks_nothing(endpoint: Endpoint, fields: dict[str, Any]) -> bool:
    if endpoint is Endpoint.GENERATE:
        return not fields.get("prompt")
    return endpoint is Endpoint.CHAT and not fields.get("messages")


def _keep_alive_seconds(value: Any) -> float | None:  # noqa: ANN401 - JSON
    if value is None or isinstance(value, bool) or not isinstance(value, int | float | str):
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
