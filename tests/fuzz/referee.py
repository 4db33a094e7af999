"""Which requests a client's bytes hold beyond doubt, up to the first doubt. Shares no code with the proxy."""

from __future__ import annotations

import re
from typing import NamedTuple

_START = re.compile(rb"[\r\n]*([A-Z-]+) +([\x21-\x7e]+) +HTTP/(1\.[01])\r\n")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*((?:[\x21-\x7e\x80-\xff][\t \x21-\x7e\x80-\xff]*)?)\r\n")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t \x21-\x7e\x80-\xff]*)?\r\n")
_ABSOLUTE = re.compile(rb"(?i)https?://[^/?]+")
_LENGTH = re.compile(rb"[0-9]{1,19}")
_CONNECTIONS_OWN = frozenset(
    b"host content-length transfer-encoding connection keep-alive proxy-authenticate proxy-authorization "
    b"proxy-connection te trailer upgrade expect".split()
)

Fields = tuple[tuple[bytes, bytes], ...]


class Plain(NamedTuple):
    """A request without any doubt in it."""

    method: bytes
    target: bytes
    headers: Fields
    body: bytes


def end_to_end(fields: Fields) -> Fields:
    """Return those that are not the connection's own."""
    named = b",".join(value for name, value in fields if name.lower() == b"connection").lower().split(b",")
    own = _CONNECTIONS_OWN.union(name.strip(b" \t") for name in named)
    return tuple((name, value) for name, value in fields if name.lower() not in own)


class _DoubtError(Exception):
    """From here on the bytes mean nothing for certain, or are not all there."""


def plain_requests(content: bytes) -> list[Plain]:
    """Read as many requests as there are before the first doubt."""
    found, at = [], 0
    try:
        while at < len(content):
            request, at = _request(content, at)
            found.append(request)
    except _DoubtError:
        pass
    return found


def _request(content: bytes, at: int) -> tuple[Plain, int]:
    method, target, version = (start := _expect(_START, content, at)).groups()
    fields, at = _fields(content, start.end())
    hosts, lengths, codings = (
        [value for name, value in fields if name.lower() == wanted]
        for wanted in (b"host", b"content-length", b"transfer-encoding")
    )
    _require(len(hosts) == 1 or (version == b"1.0" and not hosts))
    _require(len(lengths) + len(codings) <= 1)
    _require(method != b"CONNECT")
    if codings:
        _require(codings[0].lower() == b"chunked" and version == b"1.1")
        body, at = _chunks(content, at)
    else:
        size = int(_expect(_LENGTH, lengths[0], 0, is_all=True)[0]) if lengths else 0
        _require(at + size <= len(content))
        body, at = content[at : at + size], at + size
    return Plain(method, _origin(target, method), end_to_end(fields), body), at


def _origin(target: bytes, method: bytes) -> bytes:
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return target
    path = target[_expect(_ABSOLUTE, target, 0).end() :]
    return path if path.startswith(b"/") else b"/" + path


def _fields(content: bytes, at: int) -> tuple[Fields, int]:
    fields: list[tuple[bytes, bytes]] = []
    while not content.startswith(b"\r\n", at):
        field = _expect(_FIELD, content, at)
        fields.append((field[1], field[2].strip(b" \t")))
        at = field.end()
    return tuple(fields), at + 2


def _chunks(content: bytes, at: int) -> tuple[bytes, int]:
    body = b""
    while size := int((head := _expect(_CHUNK, content, at))[1], 16):
        at = head.end() + size
        body += content[head.end() : at]
        _require(content.startswith(b"\r\n", at))
        at += 2
    trailers, at = _fields(content, head.end())
    _require(not {b"content-length", b"transfer-encoding"} & {name.lower() for name, _ in trailers})
    return body, at


def _expect(pattern: re.Pattern[bytes], content: bytes, at: int, *, is_all: bool = False) -> re.Match[bytes]:
    found = pattern.fullmatch(content, at) if is_all else pattern.match(content, at)
    if found is None:
        raise _DoubtError
    return found


def _require(is_so: object) -> None:
    if not is_so:
        raise _DoubtError
