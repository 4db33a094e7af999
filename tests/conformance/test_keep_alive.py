"""What keep_alive means and where it counts (OLLAMA.md 2 to 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.models import EMBED, ENDLESS_A, SMALL
from tests.conformance.subject import Setup

if TYPE_CHECKING:
    from tests.conformance.conftest import StartOllama

MODEL = SMALL[0].name
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
SHORT = {"options": {"num_predict": 2}}
ONE = Setup(models=(SMALL[0],), keep_alive_seconds=200)
YEAR = 365 * 86400
NATIVE = {
    "/api/generate": {"prompt": "hi"} | SHORT,
    "/api/chat": CHAT | SHORT,
    "/api/embed": {"input": "hi"},
    "/api/embeddings": {"prompt": "hi"},
}
OTHERS = {
    "/v1/chat/completions": CHAT | {"max_tokens": 2},
    "/v1/completions": {"prompt": "hi", "max_tokens": 2},
    "/v1/embeddings": {"input": "hi"},
    "/v1/responses": {"input": "hi", "max_output_tokens": 2},
    "/v1/messages": CHAT | {"max_tokens": 2},
}


def about(seconds: float) -> Any:
    return pytest.approx(seconds, abs=4)


async def test_the_four_native_endpoints_take_keep_alive(start: StartOllama) -> None:
    ollama = await start(Setup(models=(SMALL[0], EMBED), keep_alive_seconds=200))
    for number, (path, body) in enumerate(NATIVE.items()):
        model = EMBED.name if "embed" in path else MODEL
        asked = 500 + 50 * number
        answer = await ollama.post(path, model=model, keep_alive=asked, **body)
        assert answer.status == 200
        assert await ollama.left(model) == about(asked)


async def test_the_endpoints_of_other_apis_drop_keep_alive(start: StartOllama) -> None:
    ollama = await start(Setup(models=(SMALL[0], EMBED), keep_alive_seconds=200))
    for path, body in OTHERS.items():
        model = EMBED.name if "embed" in path else MODEL
        answer = await ollama.post(path, model=model, keep_alive=900, **body)
        assert answer.status == 200
        assert await ollama.left(model) == about(200)


async def test_a_cold_load_without_keep_alive_takes_the_default(start: StartOllama) -> None:
    ollama = await start(ONE)
    await ollama.load(MODEL)
    assert await ollama.left(MODEL) == about(200)


async def test_a_request_without_keep_alive_inherits_what_the_last_one_left(start: StartOllama) -> None:
    ollama = await start(ONE)
    await ollama.load(MODEL, keep_alive=100)
    await ollama.load(MODEL)
    assert await ollama.left(MODEL) == about(100)
    await ollama.load(MODEL, keep_alive="1h30m")
    await ollama.post("/v1/chat/completions", model=MODEL, max_tokens=2, **CHAT)
    assert await ollama.left(MODEL) == about(5400)


async def test_null_is_absent_and_the_last_of_repeated_keys_in_any_case_wins(start: StartOllama) -> None:
    ollama = await start(ONE)
    await ollama.load(MODEL, keep_alive=None)
    assert await ollama.left(MODEL) == about(200)
    body = f'{{"Model":"nope","keep_alive":"10m","MODEL":"{MODEL}","Keep_Alive":300,"KEEP_ALIVE":70}}'
    assert (await ollama.call("POST", "/api/generate", body)).status == 200
    assert await ollama.left(MODEL) == about(70)
    body = f'{{"model":"{MODEL}","keep_alive":500,"Keep_Alive":null}}'
    assert (await ollama.call("POST", "/api/generate", body)).status == 200
    assert await ollama.left(MODEL) == about(70)


@pytest.mark.parametrize("value", [-1, "-1s", -0.5])
async def test_a_negative_value_is_for_ever(start: StartOllama, value: object) -> None:
    ollama = await start(ONE)
    await ollama.load(MODEL, keep_alive=value)
    assert await ollama.left(MODEL) > 100 * YEAR


async def test_what_is_no_duration_is_refused(start: StartOllama) -> None:
    ollama = await start(ONE)
    reasons = {
        "-1": 'time: missing unit in duration "-1"',
        "5x": 'time: unknown unit "x" in duration "5x"',
        "": 'time: invalid duration ""',
        True: "Unsupported type: 'bool'",
    }
    for value, reason in reasons.items():
        answer = await ollama.post("/api/generate", model=MODEL, keep_alive=value)
        assert (answer.status, answer.body) == (400, {"error": reason})
    assert await ollama.ps() == {}


async def test_the_timer_starts_when_the_last_request_ends_and_then_the_model_leaves(start: StartOllama) -> None:
    ollama = await start(Setup(models=(ENDLESS_A,)))
    async with ollama.busy(ENDLESS_A.name, keep_alive=1):
        await ollama.sleep(2)
        assert ENDLESS_A.name in await ollama.ps()
    assert await ollama.gone(ENDLESS_A.name) == pytest.approx(1, abs=0.6)


async def test_a_load_and_an_unload_of_a_model_that_chats(start: StartOllama) -> None:
    ollama = await start(ONE)
    await ollama.unload(MODEL)  # loads nothing
    assert await ollama.ps() == {}
    loaded = await ollama.post("/api/generate", model=MODEL)
    assert (loaded.body["done_reason"], loaded.body["response"]) == ("load", "")
    await ollama.unload(MODEL)
    await ollama.gone(MODEL)
    assert (await ollama.post("/api/chat", model=MODEL)).body["done_reason"] == "load"
    assert (await ollama.post("/api/chat", model=MODEL, keep_alive=0)).body["done_reason"] == "unload"
    await ollama.gone(MODEL)


async def test_a_load_and_an_unload_of_a_model_that_only_embeds(start: StartOllama) -> None:
    ollama = await start(Setup(models=(EMBED,)))
    refused = await ollama.post("/api/generate", model=EMBED.name)
    assert (refused.status, refused.body) == (400, {"error": f'"{EMBED.name}" does not support generate'})
    assert await ollama.ps() == {}
    loaded = await ollama.post("/api/embed", model=EMBED.name, keep_alive=300)
    assert loaded.body == {"model": EMBED.name, "embeddings": []}
    assert await ollama.left(EMBED.name) == about(300)
    await ollama.unload(EMBED.name)
    await ollama.gone(EMBED.name)


async def test_an_unload_waits_for_the_requests_in_flight(start: StartOllama) -> None:
    ollama = await start(Setup(models=(ENDLESS_A,)))
    async with ollama.busy(ENDLESS_A.name):
        await ollama.unload(ENDLESS_A.name)
        await ollama.sleep(1)
        assert ENDLESS_A.name in await ollama.ps()
    assert await ollama.gone(ENDLESS_A.name) < 1
