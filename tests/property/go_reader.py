"""How Go reads a model request, by the standard library's json: what ModelBody is judged by. Shares no code with it."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple, NoReturn

from proxy.domain.effects import KeepAlive
from proxy.domain.model import Endpoint, canonical
from proxy.upstream.body import ModelBody

Pairs = list[tuple[str, Any]]

_DEEP = 400
_MOST_DIGITS = 4300
_NO_CHARACTERS = re.compile(r"[\ud800-\udfff\ufffd]+")
_SPACE = re.compile(r"[ \t\r\n]*")
_LONG_NUMBER = re.compile(rb"\d{%d}" % _MOST_DIGITS)


class Number(NamedTuple):
    """A number as it is written, so that none is too long or rounded."""

    text: str


class Member(NamedTuple):
    """A member of the outermost object, and where its value stands in the text."""

    key: str
    value: Any
    start: int
    end: int


def go_fold(key: str) -> str:
    """Fold a key as Go does to find the field that it means."""
    return key.replace("\u017f", "s").replace("\u212a", "k").lower()


def text_of(content: bytes) -> str:
    """Return the bytes as text from which they can be made again: what is no UTF-8 becomes half a character."""
    return content.decode("utf-8", "surrogateescape")


def members(text: str) -> list[Member]:
    """List the members of the object that the text is.

    Raises:
        ValueError: it is no JSON object.
    """
    decoder = json.JSONDecoder(object_pairs_hook=list, parse_int=Number, parse_float=Number, parse_constant=_refuse)
    pairs = decoder.decode(text)
    at = _behind_space(text, 0)
    if text[at] != "{":
        raise ValueError("no object")
    found = []
    for key, value in pairs:
        at = _behind_space(text, at + 1)
        _, at = decoder.raw_decode(text, at)
        start = _behind_space(text, _behind_space(text, at) + 1)
        _, end = decoder.raw_decode(text, start)
        found.append(Member(key, value, start, end))
        at = _behind_space(text, end)
    return found


def _behind_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    assert space
    return space.end()


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def as_go_reads(content: bytes) -> tuple[Any, Pairs]:
    """Return what is found for keep_alive (the last of the keys that fold to it wins), and all other members."""
    found = members(text_of(content))
    values = [member.value for member in found if go_fold(member.key) == "keep_alive"]
    others = [(member.key, member.value) for member in found if go_fold(member.key) != "keep_alive"]
    return values[-1] if values else None, others


def with_keep_alive(content: bytes, value: str) -> bytes:
    """Return the same bytes with the value in place of each keep_alive, or as a last member if there is none."""
    text, done = text_of(content), 0
    parts = []
    found = members(text)
    for member in found:
        if go_fold(member.key) == "keep_alive":
            parts += [text[done : member.start], value]
            done = member.end
    if not parts and value != "null":
        done = _behind_space(text, found[-1].end)
        parts = [text[:done], ',"keep_alive":', value]
    return _bytes_of("".join([*parts, text[done:]]))


def options_as_go_reads(content: bytes) -> tuple[Any, dict[str, Any], Pairs]:
    """Return num_ctx, the other options (repeated ones merged, null drops them), and all other members."""
    text = text_of(content)
    options: dict[str, Any] = {}
    others: Pairs = []
    for member in members(text):
        if go_fold(member.key) != "options":
            others.append((member.key, member.value))
        elif text[member.start] == "{":
            options |= dict(member.value)
        else:
            options = {}
    return options.pop("num_ctx", None), options, others


def with_num_ctx(content: bytes, value: str) -> bytes:
    """Return the same bytes with the value in the last options, which are added if there are none or null."""
    text = text_of(content)
    found = members(text)
    last = next((member for member in reversed(found) if go_fold(member.key) == "options"), None)
    if last is None or last.value is None:
        end = _behind_space(text, found[-1].end)
        return _bytes_of(text[:end] + ',"options":{"num_ctx":' + value + "}" + text[end:])
    if text[last.start] != "{":
        return content
    inner = text[last.start : last.end]
    inside = members(inner) if last.value else []
    parts, done = [], 0
    for member in inside:
        if member.key == "num_ctx":
            parts += [inner[done : member.start], value]
            done = member.end
    if not parts:
        done = len(inner) - 1
        parts = [inner[:done], "," if inside else "", '"num_ctx":', value]
    return _bytes_of("".join([text[: last.start], *parts, inner[done:], text[last.end :]]))


def _bytes_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def judge(endpoint: Endpoint, content: bytes, keep_alive: int) -> bool:
    """Check whatever ModelBody makes of these bytes; whether it takes them for a model request.

    Raises:
        AssertionError: it reads them otherwise than Go, changes a byte too much, or fails otherwise than by ValueError.
    """
    try:
        body = ModelBody(endpoint, content)
    except ValueError:
        assert _model(content) is None or _is_beyond_measure(content)
        return False
    model = _model(content)
    assert model is not None
    assert _whole(body.request.model) == _whole(canonical(model))
    assert body.with_values(KeepAlive.AS_IT_CAME) == content
    assert body.with_values(KeepAlive.WITHHELD) == with_keep_alive(content, "null")
    after = body.with_values(keep_alive)
    assert after == with_keep_alive(content, str(keep_alive))
    assert as_go_reads(after) == (Number(str(keep_alive)), as_go_reads(content)[1])
    both = body.with_values(keep_alive, 8192)
    assert both == with_num_ctx(with_keep_alive(content, str(keep_alive)), "8192")
    assert body.with_values(KeepAlive.AS_IT_CAME, 8192) == with_num_ctx(content, "8192")
    if endpoint.carries_keep_alive:
        again = ModelBody(endpoint, after).request
        assert (again.model, again.options) == (body.request.model, body.request.options)
        assert again.keep_alive == keep_alive
    return True


def _model(content: bytes) -> str | None:
    """Return the model that is named; None: no JSON object, or no name in it."""
    try:
        found = members(text_of(content))
    except (ValueError, RecursionError):
        return None
    values = [member.value for member in found if go_fold(member.key) == "model" and member.value is not None]
    return values[-1] if values and isinstance(values[-1], str) and values[-1].strip() else None


def _whole(text: str) -> str:
    return _NO_CHARACTERS.sub("\ufffd", text)


def _is_beyond_measure(content: bytes) -> bool:
    return content.count(b"[") + content.count(b"{") > _DEEP or _LONG_NUMBER.search(content) is not None
