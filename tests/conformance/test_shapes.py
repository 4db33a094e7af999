"""The shapes of answers and errors, names, and hosts (OLLAMA.md 14, 15, 21)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.models import EMBED, SMALL
from tests.conformance.subject import MIB, Setup

if TYPE_CHECKING:
    from tests.conformance.conftest import StartOllama

MODEL = SMALL[0].name
BOTH = Setup(models=(SMALL[0], EMBED))
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
BODIES: dict[str, dict[str, Any]] = {
    "/api/generate": {"prompt": "hi"},
    "/api/chat": CHAT,
    "/api/embed": {"input": "hi"},
    "/api/embeddings": {"prompt": "hi"},
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"prompt": "hi"},
    "/v1/embeddings": {"input": "hi"},
    "/v1/responses": {"input": "hi"},
    "/v1/messages": CHAT | {"max_tokens": 2},
}
DURATIONS = {"total_duration", "load_duration", "prompt_eval_duration", "eval_duration"}
COUNTS = {"prompt_eval_count", "eval_count"}


def error_text(path: str, body: dict[str, Any]) -> str:
    """The text of an error, which has to have the shape of the API that was called."""
    if path.startswith("/api/"):
        assert set(body) == {"error"}
        return str(body["error"])
    if path == "/v1/messages":
        assert (body["type"], set(body)) == ("error", {"type", "error", "request_id"})
        assert set(body["error"]) == {"type", "message"}
    else:
        assert set(body["error"]) == {"message", "type", "param", "code"}
    return str(body["error"]["message"])


def data_lines(text: str) -> list[str]:
    return [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]


async def test_an_unknown_model_is_not_found_in_the_shape_of_each_api(start: StartOllama) -> None:
    ollama = await start(BOTH)
    for path, body in BODIES.items():
        answer = await ollama.post(path, model="nope", **body)
        plain = "embed" not in path
        expected = "model 'nope' not found" if plain else 'model "nope" not found, try pulling it first'
        assert (path, answer.status, error_text(path, answer.body)) == (path, 404, expected)


async def test_a_body_that_is_no_json_is_refused_in_the_shape_of_each_api(start: StartOllama) -> None:
    ollama = await start(BOTH)
    for path in BODIES:
        for body, text in (("{", "unexpected EOF"), ("", None), ("[]", None), ('{"model":5}', None)):
            answer = await ollama.call("POST", path, body)
            assert (path, answer.status) == (path, 400)
            assert text in (None, error_text(path, answer.body))
        wrong = await ollama.call("POST", path, '{"model":5}')
        assert "cannot unmarshal number into Go struct field" in error_text(path, wrong.body)


async def test_a_name_that_cannot_be_is_refused(start: StartOllama) -> None:
    ollama = await start(BOTH)
    for path, body in BODIES.items():
        answer = await ollama.post(path, model="no such model!", **body)
        assert (answer.status, error_text(path, answer.body)) == (400, "invalid model name")


async def test_a_cloud_model_is_not_looked_for_here(start: StartOllama) -> None:
    ollama = await start(BOTH)
    for path, body in BODIES.items():
        for model in ("some:cloud", "some:8b-cloud"):
            assert (await ollama.post(path, model=model, **body)).status == 403


async def test_all_spellings_of_a_name_are_one_model(start: StartOllama) -> None:
    ollama = await start(BOTH)
    for name in (
        "small-1",
        "small-1:latest",
        "library/small-1",
        "SMALL-1:Latest",
        "registry.ollama.ai/library/small-1",
    ):
        answer = await ollama.post("/api/generate", model=name)
        assert (answer.status, answer.body["model"]) == (200, name)
        assert list(await ollama.ps()) == [MODEL]


async def test_what_follows_the_first_json_value_is_ignored(start: StartOllama) -> None:
    ollama = await start(BOTH)
    answer = await ollama.call("POST", "/api/generate", f'{{"model":"{MODEL}"}} and more')
    assert (answer.status, answer.body["done_reason"]) == (200, "load")


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
async def test_a_native_stream_is_the_default_and_its_last_object_tells_the_durations(
    start: StartOllama, path: str
) -> None:
    ollama = await start(BOTH)
    body = BODIES[path] | {"model": MODEL, "options": {"num_predict": 3}}
    answer = await ollama.call("POST", path, body)
    objects = [json.loads(line) for line in answer.body.splitlines()]
    assert [line["done"] for line in objects] == [False] * (len(objects) - 1) + [True]
    last = objects[-1]
    assert set(last) >= DURATIONS | COUNTS
    assert 1 <= last["eval_count"] <= 3
    assert 0.2e9 < last["load_duration"] < last["total_duration"] < (answer.seconds + 0.2) * 1e9
    warm = await ollama.post(path, **body)
    assert warm.body["done"] is True
    assert warm.body["load_duration"] < 0.2e9
    assert last["done_reason"] in ("length", "stop")


async def test_an_embedding_tells_its_durations_and_has_a_vector_for_each_text(start: StartOllama) -> None:
    ollama = await start(BOTH)
    one = await ollama.post("/api/embed", model=EMBED.name, input="hi")
    assert {"total_duration", "load_duration", "prompt_eval_count"} <= set(one.body)
    two = await ollama.post("/api/embed", model=EMBED.name, input=["hi", "there"])
    assert (len(one.body["embeddings"]), len(two.body["embeddings"])) == (1, 2)
    vector = one.body["embeddings"][0]
    assert sum(value * value for value in vector) == pytest.approx(1, abs=1e-3)
    older = await ollama.post("/api/embeddings", model=EMBED.name, prompt="hi")
    assert older.body["embedding"] == pytest.approx(vector, abs=1e-3)
    openai = await ollama.post("/v1/embeddings", model=EMBED.name, input="hi")
    assert openai.body["data"][0]["embedding"] == pytest.approx(vector, abs=1e-3)
    assert openai.body["usage"]["prompt_tokens"] == one.body["prompt_eval_count"]


async def test_an_openai_stream_ends_in_done_and_tells_usage_only_when_asked(start: StartOllama) -> None:
    ollama = await start(BOTH)
    for path in ("/v1/chat/completions", "/v1/completions"):
        body = BODIES[path] | {"model": MODEL, "max_tokens": 3, "stream": True}
        plain = data_lines((await ollama.call("POST", path, body)).body)
        assert plain[-1] == "[DONE]"
        assert not any(json.loads(line).get("usage") for line in plain[:-1])
        told = data_lines((await ollama.call("POST", path, body | {"stream_options": {"include_usage": True}})).body)
        usage = json.loads(told[-2])["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0


async def test_a_stream_of_responses_and_of_messages_ends_with_its_last_event(start: StartOllama) -> None:
    ollama = await start(BOTH)
    for path, extra, last in (
        ("/v1/responses", {"max_output_tokens": 3}, "response.completed"),
        ("/v1/messages", {"max_tokens": 3}, "message_stop"),
    ):
        body = BODIES[path] | {"model": MODEL, "stream": True} | extra
        events = [json.loads(line) for line in data_lines((await ollama.call("POST", path, body)).body)]
        assert events[-1]["type"] == last


async def test_answers_of_other_apis_that_are_not_streamed(start: StartOllama) -> None:
    ollama = await start(BOTH)
    chat = await ollama.post("/v1/chat/completions", model=MODEL, max_tokens=2, **CHAT)
    assert chat.body["choices"][0]["message"]["role"] == "assistant"
    assert chat.body["usage"]["completion_tokens"] <= 2
    message = await ollama.post("/v1/messages", model=MODEL, max_tokens=2, **CHAT)
    assert (message.body["type"], message.body["content"][0]["type"]) == ("message", "text")
    response = await ollama.post("/v1/responses", model=MODEL, max_output_tokens=2, input="hi")
    assert (response.body["object"], response.body["status"]) == ("response", "completed")


async def test_the_lists_tell_what_the_size_formula_needs(start: StartOllama) -> None:
    ollama = await start(BOTH)
    tags = {line["name"]: line for line in (await ollama.call("GET", "/api/tags")).body["models"]}
    assert set(tags) == {MODEL, EMBED.name}
    assert tags[MODEL]["size"] == pytest.approx(SMALL[0].mib * MIB, abs=MIB)
    for name, capability in ((MODEL, "completion"), (EMBED.name, "embedding")):
        show = (await ollama.post("/api/show", model=name)).body
        family = show["model_info"]["general.architecture"]
        assert show["details"]["family"] == family
        assert capability in show["capabilities"]
        for key in ("block_count", "context_length", "embedding_length", "attention.head_count"):
            assert show["model_info"][f"{family}.{key}"] > 0
    models = (await ollama.call("GET", "/v1/models")).body
    assert {model["id"] for model in models["data"]} == {MODEL, EMBED.name}


async def test_ps_tells_size_context_and_digest(start: StartOllama) -> None:
    ollama = await start(BOTH)
    await ollama.load(MODEL, keep_alive=100)
    await ollama.post("/api/embed", model=EMBED.name, keep_alive=900)
    tags = {line["name"]: line for line in (await ollama.call("GET", "/api/tags")).body["models"]}
    lines = await ollama.ps()
    assert list(lines) == [EMBED.name, MODEL]  # the longest lease first
    line = lines[MODEL]
    assert (line["size"], line["size_vram"]) == (SMALL[0].mib * MIB, SMALL[0].mib * MIB)
    assert (line["context_length"], line["digest"]) == (8192, tags[MODEL]["digest"])


async def test_blobs_copies_and_deletions(start: StartOllama) -> None:
    ollama = await start(BOTH)
    digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert (await ollama.call("HEAD", f"/api/blobs/{digest}")).status == 404
    assert (await ollama.call("POST", f"/api/blobs/{digest}", b"hello")).status == 201
    assert (await ollama.call("HEAD", f"/api/blobs/{digest}")).status == 200
    assert (await ollama.call("POST", f"/api/blobs/{digest[:-1]}0", b"hello")).status == 400
    assert (await ollama.post("/api/copy", source=MODEL, destination="copied")).status == 200
    await ollama.load("copied", keep_alive=100)
    await ollama.load(MODEL)
    assert list(await ollama.ps()) == ["copied:latest"]  # the same weights
    assert (await ollama.call("DELETE", "/api/delete", {"model": "copied"})).status == 200
    assert (await ollama.call("DELETE", "/api/delete", {"model": "copied"})).status == 404


async def test_the_root_the_version_and_what_is_not_there(start: StartOllama) -> None:
    ollama = await start(BOTH)
    assert (await ollama.call("GET", "/")).body == "Ollama is running"
    assert (await ollama.call("HEAD", "/")).status == 200
    assert set((await ollama.call("GET", "/api/version")).body) == {"version"}
    assert (await ollama.call("GET", "/nope")).status == 404
    assert (await ollama.call("GET", "/api/generate")).status == 405


async def test_a_host_that_is_not_local_gets_an_empty_403(start: StartOllama) -> None:
    ollama = await start(BOTH)
    for host in ("keepwarm:11435", "myserver.lan", "8.8.8.8", "example.com"):
        answer = await ollama.call("GET", "/api/ps", headers={"Host": host})
        assert (host, answer.status, answer.body) == (host, 403, "")
    for host in ("localhost:1", "127.0.0.1", "10.1.2.3:11434", "[::1]:11434", "a.local", "b.internal", "c.localhost:9"):
        assert (host, (await ollama.call("GET", "/api/ps", headers={"Host": host})).status) == (host, 200)
