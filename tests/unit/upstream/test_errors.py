"""Errors of our own look like those of the API that was called."""

import json

import pytest

from proxy.domain.model import Endpoint
from proxy.upstream.errors import error_body


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate", "/api/tags", "/", "/api/v1/", "/v1", "/V1/chat"])
def test_ollamas_own_shape_is_a_text_under_error(path: str) -> None:
    assert json.loads(error_body(path, 502, 'no "Ollama"\n')) == {"error": 'no "Ollama"\n'}


@pytest.mark.parametrize("path", [Endpoint.V1_CHAT, Endpoint.V1_RESPONSES, "/v1/models", "/v1/audio/speech"])
def test_openais_shape_has_message_and_type(path: str) -> None:
    assert json.loads(error_body(path, 502, "gone")) == {
        "error": {"message": "gone", "type": "api_error", "param": None, "code": None}
    }
    assert json.loads(error_body(path, 413, "big"))["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("status", "openai", "code", "anthropic"),
    [
        (400, "invalid_request_error", None, "invalid_request_error"),
        (401, "invalid_request_error", "invalid_api_key", "authentication_error"),
        (403, "invalid_request_error", None, "permission_error"),
        (404, "not_found_error", None, "not_found_error"),
        (413, "invalid_request_error", None, "request_too_large"),
        (429, "rate_limit_error", "rate_limit_exceeded", "rate_limit_error"),
        (503, "api_error", None, "overloaded_error"),
    ],
)
def test_each_status_has_the_type_that_the_api_has_for_it(
    status: int, openai: str, code: str | None, anthropic: str
) -> None:
    error = json.loads(error_body("/v1/models", status, "no"))["error"]
    assert (error["type"], error["code"]) == (openai, code)
    assert json.loads(error_body("/v1/messages", status, "no"))["error"]["type"] == anthropic


@pytest.mark.parametrize("path", [Endpoint.V1_MESSAGES, "/v1/messages/count_tokens"])
def test_anthropics_shape_says_that_it_is_an_error(path: str) -> None:
    assert json.loads(error_body(path, 502, "gone")) == {
        "type": "error",
        "error": {"type": "api_error", "message": "gone"},
    }
    assert json.loads(error_body(path, 413, "big"))["error"]["type"] in {"invalid_request_error", "request_too_large"}


@pytest.mark.parametrize("path", ["/api/chat", "/v1/models", "/v1/messages"])
def test_half_a_character_in_a_message_does_not_break_it(path: str) -> None:
    assert b"got a?b" in error_body(path, 400, "got a\udcffb")
