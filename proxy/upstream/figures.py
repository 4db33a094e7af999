"""Reads durations and token counts from the end of an answer; keeps a few KiB of it, never the answer."""

from __future__ import annotations

import re
from collections import deque
from typing import Annotated, Literal

import msgspec

from proxy.domain.events import AnswerFigures

_KEPT_BYTES = 4096
_DURATIONS = b'"eval_duration"'
_FIELD = re.compile(
    rb'"(?<!\\")(load_duration|prompt_eval_count|prompt_eval_duration|eval_count|eval_duration'
    rb'|prompt_tokens|completion_tokens|input_tokens|output_tokens)"\s*:\s*(\d{1,18})'
)


_Count = Annotated[int, msgspec.Meta(ge=0, lt=10**18)]

_LAST_EVENTS = (b"\ndata: [DONE]", b"\nevent: message_stop", b'"type":"response.completed"')
"""A raw line break or quote can't be part of a generated text: JSON escapes both."""


class _LastObject(msgspec.Struct):
    """The last object of a native answer, in nanoseconds and tokens."""

    done: Literal[True]
    load_duration: _Count | None = None
    prompt_eval_count: _Count | None = None
    prompt_eval_duration: _Count | None = None
    eval_count: _Count | None = None
    eval_duration: _Count | None = None


_LAST_OBJECT = msgspec.json.Decoder(_LastObject)


class AnswerTail:
    """Collects the last bytes of an answer while it streams by, and those around the durations, should more follow.

    A quote inside a JSON string is escaped, so a generated text can't pretend to be one of these fields.
    """

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._bytes = 0
        self._found: list[tuple[bytes, bytes]] = []

    def add(self, chunk: bytes) -> None:
        """Remember the chunk, and forget what is further than 4 KiB from the end."""
        if len(chunk) > _KEPT_BYTES:
            self._look_through(chunk)
            chunk = chunk[-_KEPT_BYTES:]
        self._chunks.append(chunk)
        self._bytes += len(chunk)
        while self._bytes - len(self._chunks[0]) >= _KEPT_BYTES:
            forgotten = self._chunks.popleft()
            self._bytes -= len(forgotten)
            self._look_through(forgotten)

    def _look_through(self, content: bytes) -> None:
        """Find the durations before their bytes are forgotten."""
        at = content.rfind(_DURATIONS)
        if at >= 0:
            self._found = _FIELD.findall(content[max(0, at - _KEPT_BYTES) : at + _KEPT_BYTES])

    def complete(self) -> bool:
        """Tell whether the stream said that it is over; some clients close their connection at these words."""
        end = b"".join(self._chunks)
        if self._found or _of_last_object(end) is not None or _DURATIONS in end:
            return True
        return any(event in end for event in _LAST_EVENTS)

    def figures(self) -> AnswerFigures:
        """Return what Ollama's last object (or `usage` of the /v1 endpoints) says, None where it says nothing."""
        end = b"".join(self._chunks)
        return _of_last_object(end) or self._searched(end)

    def _searched(self, end: bytes) -> AnswerFigures:
        fields = [*self._found, *_FIELD.findall(end)]
        found = {name.decode(): (place, int(number)) for place, (name, number) in enumerate(fields)}

        def seconds(name: str) -> float | None:
            return found[name][1] / 1e9 if name in found else None

        def tokens(*names: str) -> int | None:
            """The last one counts: what comes before may be the arguments of a tool."""
            return max((found[name] for name in names if name in found), default=(0, None))[1]

        return AnswerFigures(
            load_seconds=seconds("load_duration"),
            prompt_tokens=tokens("prompt_eval_count", "prompt_tokens", "input_tokens"),
            prompt_seconds=seconds("prompt_eval_duration"),
            generated_tokens=tokens("eval_count", "completion_tokens", "output_tokens"),
            generation_seconds=seconds("eval_duration"),
        )


def _of_last_object(end: bytes) -> AnswerFigures | None:
    """Read a native answer's last line; None: it is cut off, or not of that kind."""
    try:
        last = _LAST_OBJECT.decode(end[end.rfind(b"\n", 0, -1) + 1 :])
    except ValueError:
        return None
    return AnswerFigures(
        _seconds(last.load_duration),
        last.prompt_eval_count,
        _seconds(last.prompt_eval_duration),
        last.eval_count,
        _seconds(last.eval_duration),
    )


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e9
