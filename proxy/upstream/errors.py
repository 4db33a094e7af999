"""Errors of the proxy in the shape of the API that was called, so that clients show them as they show Ollama's own."""

from __future__ import annotations

from typing import Final

import msgspec

_SERVER_ERRORS: Final = 500
_ANTHROPIC: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}
_OPENAI: Final = {404: "not_found_error", 429: "rate_limit_error"}
_OPENAI_CODES: Final = {401: "invalid_api_key", 429: "rate_limit_exceeded"}


def error_body(path: str, status: int, message: str) -> bytes:
    """Return the JSON body of an error answer: Anthropic's shape, OpenAI's, or Ollama's own, by the path.

    Half characters, which a text that quotes a client may have, become question marks.
    """
    message = message.encode(errors="replace").decode()
    usual = "invalid_request_error" if status < _SERVER_ERRORS else "api_error"
    if path.startswith("/v1/messages"):
        kind = _ANTHROPIC.get(status, usual)
        return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": message}})
    if path.startswith("/v1/"):
        kind, code = _OPENAI.get(status, usual), _OPENAI_CODES.get(status)
        return msgspec.json.encode({"error": {"message": message, "type": kind, "param": None, "code": code}})
    return msgspec.json.encode({"error": message})
