"""Anthropic's /v1/messages read and written; serves nothing."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from proxy.sim.ask import ApiError, Ask, Piece
from proxy.sim.native import compact, message_texts
from proxy.sim.openai import read_fields

if TYPE_CHECKING:
    from collections.abc import Iterator

_IDS = itertools.count(1)
_FIELDS: dict[str, type] = {"model": str, "max_tokens": int, "messages": list, "stream": bool}
_ERROR_TYPES = {
    400: "invalid_request_error",
    403: "permission_error",
    404: "not_found_error",
    503: "overloaded_error",
}
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens"}


class MessagesDialect:
    """Answers of /v1/messages.

    Args:
        prompt_tokens: An estimate, for the first event.
    """

    content_type = "text/event-stream"

    def __init__(self, prompt_tokens: int) -> None:
        self._id = f"msg_{next(_IDS):024x}"
        self._prompt_tokens = prompt_tokens
        self._begun = False

    def whole(self, piece: Piece) -> dict[str, Any]:
        """The answer in one."""
        content = [{"type": "text", "text": piece.text}]
        usage = {"input_tokens": piece.timings.prompt_tokens, "output_tokens": piece.timings.tokens}
        stop = {"stop_reason": _STOP_REASONS.get(piece.done_reason, "stop_sequence"), "usage": usage}
        return self._head(piece.model) | {"content": content} | stop

    def chunks(self, piece: Piece) -> Iterator[bytes]:
        """The events of one piece: the message and its block begin with the first and end with the last."""
        if not self._begun:
            self._begun = True
            usage = {"input_tokens": self._prompt_tokens, "output_tokens": 0}
            yield _event("message_start", message=self._head(piece.model) | {"content": [], "usage": usage})
            yield _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        if piece.text:
            yield _event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece.text})
        if piece.done_reason:
            usage = {"input_tokens": piece.timings.prompt_tokens, "output_tokens": piece.timings.tokens}
            stop_reason = _STOP_REASONS.get(piece.done_reason, "stop_sequence")
            yield _event("content_block_stop", index=0)
            yield _event("message_delta", delta={"stop_reason": stop_reason}, usage=usage)
            yield _event("message_stop")

    def _head(self, model: str) -> dict[str, Any]:
        return {"id": self._id, "type": "message", "role": "assistant", "model": model}


class MessagesApi:
    """/v1/messages."""

    def read(self, body: bytes) -> tuple[Ask, MessagesDialect]:
        """What a request wants."""
        fields = read_fields(body, "anthropic.MessagesRequest", _FIELDS)
        if not fields.get("model"):
            raise ApiError(400, "model is required")
        if fields.get("max_tokens", 0) <= 0:
            raise ApiError(400, "max_tokens is required and must be positive")
        if not fields.get("messages"):
            raise ApiError(400, "messages is required")
        ask = Ask(
            model=fields["model"],
            verb="chat",
            texts=message_texts(fields["messages"]),
            options={"num_predict": fields["max_tokens"]},
            stream=fields.get("stream", False),
        )
        return ask, MessagesDialect(ask.prompt_tokens)

    def error(self, error: ApiError) -> dict[str, Any]:
        """An error in Anthropic's shape."""
        kind = _ERROR_TYPES.get(error.status, "api_error")
        request_id = f"req_{next(_IDS):024x}"
        return {"type": "error", "error": {"type": kind, "message": error.message}, "request_id": request_id}


def _event(kind: str, **data: Any) -> bytes:  # noqa: ANN401  JSON
    return f"event: {kind}\n".encode() + b"data: " + compact({"type": kind} | data) + b"\n\n"
