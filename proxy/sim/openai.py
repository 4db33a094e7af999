"""The OpenAI endpoints /v1/chat/completions, /v1/completions and /v1/embeddings read and written; serves nothing."""

from __future__ import annotations

import base64
import itertools
import struct
import time
from typing import TYPE_CHECKING, Any

from proxy.sim.ask import ApiError, Ask, Piece
from proxy.sim.gojson import BadBodyError, decode
from proxy.sim.native import compact, input_texts, message_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.sim.ask import Timings

_IDS = itertools.count(1)
_COMMON: dict[str, type] = {"model": str, "stream": bool, "stream_options": dict, "max_tokens": int}
_CHAT = _COMMON | {"messages": list}
_COMPLETION = _COMMON | {"prompt": str}
_EMBED: dict[str, type] = {"model": str, "input": object, "dimensions": int, "encoding_format": str}
_ERROR_TYPES = {400: "invalid_request_error", 404: "not_found_error"}


def openai_error(error: ApiError) -> dict[str, Any]:
    """An error in OpenAI's shape."""
    kind = _ERROR_TYPES.get(error.status, "api_error")
    return {"error": {"message": error.message, "type": kind, "param": None, "code": None}}


def read_fields(body: bytes, go_type: str, fields: dict[str, type]) -> dict[str, Any]:
    """The fields of a request.

    Raises:
        ApiError: 400.
    """
    try:
        return decode(body, go_type, fields)
    except BadBodyError as error:
        raise ApiError(400, str(error)) from None


def sse(data: object) -> bytes:
    """One server-sent event without a name."""
    return b"data: " + compact(data) + b"\n\n"


class _OpenAiDialect:
    """What the answers of both have in common."""

    content_type = "text/event-stream"
    kind = chunk_kind = prefix = ""

    def __init__(self, *, usage: bool) -> None:
        self._id = f"{self.prefix}-{next(_IDS)}"
        self._created = int(time.time())
        self._wants_usage = usage

    def _head(self, kind: str, model: str) -> dict[str, Any]:
        names = {"id": self._id, "object": kind, "created": self._created}
        return names | {"model": model, "system_fingerprint": "fp_ollama"}

    def _end(self, head: dict[str, Any], timings: Timings) -> Iterator[bytes]:
        if self._wants_usage:
            yield sse(head | {"choices": [], "usage": _usage(timings)})
        yield b"data: [DONE]\n\n"


class ChatCompletionDialect(_OpenAiDialect):
    """Answers of /v1/chat/completions."""

    kind, chunk_kind, prefix = "chat.completion", "chat.completion.chunk", "chatcmpl"

    def __init__(self, *, usage: bool) -> None:
        super().__init__(usage=usage)
        self._role: dict[str, Any] = {"role": "assistant"}

    def whole(self, piece: Piece) -> dict[str, Any]:
        """The answer in one."""
        message = {"role": "assistant", "content": piece.text}
        choice = {"index": 0, "message": message, "finish_reason": piece.done_reason}
        return self._head(self.kind, piece.model) | {"choices": [choice], "usage": _usage(piece.timings)}

    def chunks(self, piece: Piece) -> Iterator[bytes]:
        """One event for a token; at the end its reason, the usage where it was asked for, and [DONE]."""
        head = self._head(self.chunk_kind, piece.model)
        if not piece.done_reason:
            delta, self._role = self._role | {"content": piece.text}, {}
            yield sse(head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        else:
            yield sse(head | {"choices": [{"index": 0, "delta": {}, "finish_reason": piece.done_reason}]})
            yield from self._end(head, piece.timings)


class CompletionDialect(_OpenAiDialect):
    """Answers of /v1/completions."""

    kind = chunk_kind = "text_completion"
    prefix = "cmpl"

    def whole(self, piece: Piece) -> dict[str, Any]:
        """The answer in one."""
        choice = {"text": piece.text, "index": 0, "finish_reason": piece.done_reason}
        return self._head(self.kind, piece.model) | {"choices": [choice], "usage": _usage(piece.timings)}

    def chunks(self, piece: Piece) -> Iterator[bytes]:
        """One event for a token; at the end the usage where it was asked for, and [DONE]."""
        head = self._head(self.chunk_kind, piece.model)
        choice = {"text": piece.text, "index": 0, "finish_reason": piece.done_reason or None}
        nothing_yet = {"usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}
        yield sse(head | {"choices": [choice]} | (nothing_yet if self._wants_usage else {}))
        if piece.done_reason:
            yield from self._end(head, piece.timings)


class ChatCompletionApi:
    """/v1/chat/completions."""

    def read(self, body: bytes) -> tuple[Ask, ChatCompletionDialect]:
        """What a request wants."""
        fields = read_fields(body, "openai.ChatCompletionRequest", _CHAT)
        if not fields.get("messages"):
            raise ApiError(400, "[] is too short - 'messages'")
        return _ask(fields, "chat", message_texts(fields["messages"])), ChatCompletionDialect(
            usage=_usage_asked(fields)
        )

    error = staticmethod(openai_error)


class CompletionApi:
    """/v1/completions."""

    def read(self, body: bytes) -> tuple[Ask, CompletionDialect]:
        """What a request wants."""
        fields = read_fields(body, "openai.CompletionRequest", _COMPLETION)
        prompt = fields.get("prompt", "")
        ask = _ask(fields, "generate", (prompt,) if prompt else ())
        return ask, CompletionDialect(usage=_usage_asked(fields))

    error = staticmethod(openai_error)


def read_embed(body: bytes) -> tuple[Ask, bool]:
    """What a request to /v1/embeddings wants, and whether it wants the vectors in base64.

    Raises:
        ApiError: 400.
    """
    fields = read_fields(body, "openai.EmbedRequest", _EMBED)
    wanted = fields.get("input")
    if wanted is None or wanted == []:
        raise ApiError(400, "invalid input")
    texts = input_texts(wanted) or ("",)
    encoding = fields.get("encoding_format", "float").lower()
    if encoding not in ("float", "base64"):
        shown = fields["encoding_format"]
        raise ApiError(400, f"Invalid value for 'encoding_format' = {shown}. Supported values: ['float', 'base64'].")
    ask = Ask(fields.get("model", ""), "embed", texts, dimensions=fields.get("dimensions", 0))
    return ask, encoding == "base64"


def write_embed(model: str, vectors: list[list[float]], prompt_tokens: int, *, in_base64: bool) -> dict[str, Any]:
    """The answer of /v1/embeddings."""
    data = [
        {"object": "embedding", "embedding": _base64(vector) if in_base64 else vector, "index": index}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def _base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _usage(timings: Timings) -> dict[str, int]:
    read, written = timings.prompt_tokens, timings.tokens
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _usage_asked(fields: dict[str, Any]) -> bool:
    return fields.get("stream_options", {}).get("include_usage") is True


def _ask(fields: dict[str, Any], verb: str, texts: tuple[str, ...]) -> Ask:
    limit = fields.get("max_tokens")
    return Ask(
        model=fields.get("model", ""),
        verb=verb,
        texts=texts,
        options={} if limit is None else {"num_predict": limit},
        stream=fields.get("stream", False),
    )
