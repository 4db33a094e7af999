"""Ollama's own API: /api/generate, /api/chat, /api/embed and /api/embeddings read and written; serves nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from proxy.sim.ask import ApiError, Ask, Piece
from proxy.sim.gojson import BadBodyError, decode, keep_alive_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMMON: dict[str, type] = {"model": str, "keep_alive": object, "options": dict}
_GENERATE = _COMMON | {"prompt": str, "stream": bool, "shift": bool}
_CHAT = _COMMON | {"messages": list, "stream": bool, "shift": bool}
_EMBED = _COMMON | {"input": object, "dimensions": int}
_EMBEDDINGS = _COMMON | {"prompt": str}


def compact(value: object) -> bytes:
    """JSON as Go writes it: no blanks."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def now_text() -> str:
    """The time of day, as Go writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def plain_error(error: ApiError) -> dict[str, Any]:
    """An error in the shape of Ollama's own API."""
    return {"error": error.message}


class GenerateDialect:
    """Answers of /api/generate."""

    content_type = "application/x-ndjson"

    def whole(self, piece: Piece) -> dict[str, Any]:
        """One object: a token, the end, or all of it."""
        done = {"done_reason": piece.done_reason} if piece.done_reason else {}
        head = {"model": piece.model, "created_at": now_text()}
        return head | self._said(piece.text) | {"done": bool(done)} | done | piece.timings.native()

    def chunks(self, piece: Piece) -> Iterator[bytes]:
        """One line."""
        yield compact(self.whole(piece)) + b"\n"

    def _said(self, text: str) -> dict[str, Any]:
        return {"response": text}


class ChatDialect(GenerateDialect):
    """Answers of /api/chat."""

    def _said(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text}}


class GenerateApi:
    """/api/generate."""

    def read(self, body: bytes) -> tuple[Ask, GenerateDialect]:
        """What a request wants."""
        fields = _decode(body, "api.GenerateRequest", _GENERATE)
        prompt = fields.get("prompt", "")
        return _ask(fields, "generate", (prompt,) if prompt else ()), GenerateDialect()

    error = staticmethod(plain_error)


class ChatApi:
    """/api/chat."""

    def read(self, body: bytes) -> tuple[Ask, ChatDialect]:
        """What a request wants."""
        fields = _decode(body, "api.ChatRequest", _CHAT)
        return _ask(fields, "chat", message_texts(fields.get("messages", []))), ChatDialect()

    error = staticmethod(plain_error)


def read_embed(body: bytes) -> Ask:
    """What a request to /api/embed wants.

    Raises:
        ApiError: 400.
    """
    fields = _decode(body, "api.EmbedRequest", _EMBED)
    return _ask(fields, "embed", input_texts(fields.get("input")))


def read_embeddings(body: bytes) -> Ask:
    """What a request to /api/embeddings wants.

    Raises:
        ApiError: 400.
    """
    fields = _decode(body, "api.EmbeddingRequest", _EMBEDDINGS)
    prompt = fields.get("prompt", "")
    return _ask(fields, "embeddings", (prompt,) if prompt else ())


def message_texts(messages: list[Any]) -> tuple[str, ...]:
    """What a chat's messages say, one text each."""
    return tuple(_content(message) for message in messages)


def input_texts(value: object) -> tuple[str, ...]:
    """The texts to embed: one, several, or none.

    Raises:
        ApiError: 400 if there is anything else.
    """
    texts = [value] if isinstance(value, str) and value else [] if value in (None, "") else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ApiError(400, "invalid input type")
    return tuple(texts)


def _content(message: object) -> str:
    content = message.get("content") if isinstance(message, dict) else None
    return content if isinstance(content, str) else json.dumps(content)


def _decode(body: bytes, go_type: str, fields: dict[str, type]) -> dict[str, Any]:
    try:
        return decode(body, go_type, fields)
    except BadBodyError as error:
        raise ApiError(400, "missing request body" if str(error) == "EOF" else str(error)) from None


def _ask(fields: dict[str, Any], verb: str, texts: tuple[str, ...]) -> Ask:
    try:
        keep_alive = keep_alive_seconds(fields.get("keep_alive"))
    except BadBodyError as error:
        raise ApiError(400, str(error)) from None
    return Ask(
        model=fields.get("model", ""),
        verb=verb,
        texts=texts,
        keep_alive_seconds=keep_alive,
        options=fields.get("options", {}),
        shift=fields.get("shift"),
        stream=fields.get("stream", True),
        dimensions=fields.get("dimensions", 0),
    )
