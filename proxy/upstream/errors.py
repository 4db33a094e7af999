"""Errors of the proxy in the shape of the API that was called, so that clients show them as they show Ollama's own."""

from __future__ import annotations

import msgspec


def error_body(path: str, status: int, message: str) -> bytes:
    """Return the JSON body of an error answer: Anthropic's shape, OpenAI's, or Ollama's own, by the path.

    Half characters, which a text that quotes a client may have, become question marks.
    """
    message = message.encode(errors="replace").decode()
    if path.startswith("/v1/messages"):
        kind = "invalid_request_error" if status < 500 else "api_error"  # noqa: PLR2004 - HTTP's class border
        return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": message}})
    if path.startswith("/v1/"):
        kind = "invalid_request_error" if status < 500 else "api_error"  # noqa: PLR2004 - HTTP's class border
        return msgspec.json.encode({"error": {"message": message, "type": kind, "param": None, "code": None}})
    return msgspec.json.encode({"error": message})
