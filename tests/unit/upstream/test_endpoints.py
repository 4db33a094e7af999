"""Where Ollama's requests and answers name models; what can't be read is never taken for harmless."""

import json

import pytest

from proxy.upstream.endpoints import named_models, without_models


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b'{"model":"a"}', ["a"]),
        (b'{"name":"a","model":""}', ["a"]),
        (b'{"MODEL":"a","model":"b","Name":"c"}', ["a", "b", "c"]),
        (b'{"model":"allowed","model":"secret","model":"allowed"}', ["allowed", "secret", "allowed"]),
        (b'{"source":"a","destination":"b"}', ["a", "b"]),
        ('{"\u017fource":"a","de\u017ftination":"b"}'.encode(), ["a", "b"]),  # Go folds the long s
        (b'{"model":"new","from":"a","files":{"model":"x"},"x":[{"name":"y"}]}', ["new", "a"]),
        (b'{"mod\\u0065l":"a"}', ["a"]),
        (b'{"model":"\xff"}', ["\ufffd"]),
        (b'{"model":["a"],"name":"b"}', ["b"]),
    ],
)
def test_every_model_that_a_body_may_name_is_found(body: bytes, names: list[str]) -> None:
    assert named_models(body) == names


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'"model"',
        b"{}",
        b'{"model":""}',
        b'{"model":1}',
        b'[["model","a"]]',
        b'{"model":"a"} x',
        b"[" * 9999,
    ],
)
def test_a_body_that_names_no_model_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        named_models(body)


TAGS = {"models": [{"name": "a:latest", "model": "a:latest", "size": 1}, {"name": "b:1b", "model": "b:1b"}]}


@pytest.mark.parametrize("path", ["/api/tags", "/api/ps"])
def test_a_list_is_left_with_what_may_be_named(path: str) -> None:
    content = without_models(path, json.dumps(TAGS).encode(), lambda model: model == "a:latest")
    assert json.loads(content) == {"models": TAGS["models"][:1]}


def test_openais_list_is_left_with_what_may_be_named_and_all_else_it_has() -> None:
    listed = {"object": "list", "data": [{"id": "a:latest", "object": "model"}, {"id": "é:1b"}]}
    content = without_models("/v1/models", json.dumps(listed).encode(), lambda model: model == "é:1b")
    assert json.loads(content) == {"object": "list", "data": [{"id": "é:1b"}]}


def test_a_line_counts_by_all_its_names_and_what_is_no_line_goes() -> None:
    listed = {"models": [{"name": "a", "model": "b"}, "a", None, {"name": ["a"]}]}
    assert json.loads(without_models("/api/tags", json.dumps(listed).encode(), lambda m: m == "a:latest")) == {
        "models": []
    }


@pytest.mark.parametrize("empty", [b'{"models":null}', b'{"models":[]}', b"{}"])
def test_a_list_of_nothing_stays_as_it_is(empty: bytes) -> None:
    assert json.loads(without_models("/api/tags", empty, lambda _: False)) == json.loads(empty)


@pytest.mark.parametrize("content", [b"no JSON", b'{"models":{"a":1}}', b'{"models":"a"}'])
def test_what_is_no_list_is_an_error_and_not_passed_on(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        without_models("/api/tags", content, lambda _: True)
