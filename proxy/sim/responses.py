"""OpenAI's /v1/responses read and written; serves nothing."""

from __future__ import annotations

import itertools
import json
import time
from typing import TYPE_CHECKING, Any

from proxy.sim.ask import Ask, Piece
from proxy.sim.native import compact
from proxy.sim.openai import openai_error, read_fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.sim.ask import Timings

_IDS = itertools.count(100000)
_FIELDS: dict[str, type] = {
    "model": str,
    "input": object,
    "stream": bool,
    "max_output_tokens": int,
    "instructions": str,
}


class ResponsesDialect:
    """Answers of /v1/responses.

    Args:
        fields: The request's.
    """

    content_type = "text/event-stream"

    def __init__(self, fields: dict[str, Any]) -> None:
        number = next(_IDS)
        self._id, self._item_id = f"resp_{number}", f"msg_{number}"
        self._fields = fields
        self._sequence = itertools.count()
        self._parts: list[str] = []
        self._created_at = int(time.time())

    def whole(self, piece: Piece) -> dict[str, Any]:
        """The answer in one."""
        return self._response("completed", piece.model, [self._message(piece.text)], _usage(piece.timings))

    def chunks(self, piece: Piece) -> Iterator[bytes]:
        """The events of one piece: the response and its message begin with the first and end with the last."""
        if not self._parts:
            yield from self._begin(piece)
        if piece.text:
            yield self._event("response.output_text.delta", self._place | {"delta": piece.text, "logprobs": []})
        self._parts.append(piece.text)
        if piece.done_reason:
            yield from self._end(piece)

    @property
    def _place(self) -> dict[str, Any]:
        return {"item_id": self._item_id, "output_index": 0, "content_index": 0}

    def _begin(self, piece: Piece) -> Iterator[bytes]:
        response = self._response("in_progress", piece.model, [], None)
        yield self._event("response.created", {"response": response})
        yield self._event("response.in_progress", {"response": response})
        item = {"id": self._item_id, "type": "message", "status": "in_progress", "role": "assistant", "content": []}
        yield self._event("response.output_item.added", {"output_index": 0, "item": item})
        yield self._event("response.content_part.added", self._place | {"part": _part("")})

    def _end(self, piece: Piece) -> Iterator[bytes]:
        text = "".join(self._parts)
        message = self._message(text)
        yield self._event("response.output_text.done", self._place | {"text": text, "logprobs": []})
        yield self._event("response.content_part.done", self._place | {"part": _part(text)})
        yield self._event("response.output_item.done", {"output_index": 0, "item": message})
        response = self._response("completed", piece.model, [message], _usage(piece.timings))
        yield self._event("response.completed", {"response": response})

    def _event(self, kind: str, data: dict[str, Any]) -> bytes:
        body = data | {"sequence_number": next(self._sequence), "type": kind}
        return f"event: {kind}\n".encode() + b"data: " + compact(body) + b"\n\n"

    def _message(self, text: str) -> dict[str, Any]:
        head = {"id": self._item_id, "type": "message", "status": "completed", "role": "assistant"}
        return head | {"content": [_part(text)]}

    def _response(
        self, status: str, model: str, output: list[dict[str, Any]], usage: dict[str, Any] | None
    ) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created_at,
            "completed_at": int(time.time()) if usage else None,
            "status": status,
            "incomplete_details": None,
            "model": model,
            "previous_response_id": None,
            "instructions": self._fields.get("instructions"),
            "output": output,
            "error": None,
            "tools": [],
            "tool_choice": "auto",
            "truncation": "disabled",
            "parallel_tool_calls": True,
            "text": {"format": {"type": "text"}},
            "top_p": 1,
            "temperature": 1,
            "reasoning": None,
            "usage": usage,
            "max_output_tokens": self._fields.get("max_output_tokens"),
            "store": False,
            "background": False,
            "metadata": {},
        }


class ResponsesApi:
    """/v1/responses."""

    def read(self, body: bytes) -> tuple[Ask, ResponsesDialect]:
        """What a request wants."""
        fields = read_fields(body, "openai.ResponsesRequest", _FIELDS)
        limit, wanted = fields.get("max_output_tokens"), fields.get("input", "")
        ask = Ask(
            model=fields.get("model", ""),
            verb="chat",
            texts=(wanted if isinstance(wanted, str) else json.dumps(wanted),),
            options={} if limit is None else {"num_predict": limit},
            stream=fields.get("stream", False),
        )
        return ask, ResponsesDialect(fields)

    error = staticmethod(openai_error)


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(timings: Timings) -> dict[str, Any]:
    return {
        "input_tokens": timings.prompt_tokens,
        "output_tokens": timings.tokens,
        "total_tokens": timings.prompt_tokens + timings.tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
