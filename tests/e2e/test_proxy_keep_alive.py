"""The keep_alive that the proxy chooses is what Ollama goes by, whatever the client sends."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.e2e.keepwarm_process import Keepwarm, running_keepwarm
from tests.e2e.proxy_fixtures import (
    EMBEDS,
    FAST,
    GENERATES,
    Answer,
    Happenings,
    ask,
    pause_is_over,
    post,
    resident,
    until,
)

if TYPE_CHECKING:
    from tests.e2e.conftest import StartOllama
    from tests.e2e.real_ollama import RealOllama

pytestmark = pytest.mark.e2e

# 17 minutes is nobody's default. At this price no model is worth more than its minimum, so that is what is chosen.
CHOSEN = 17 * 60
SETTINGS = {
    "memory": {"budget": "24GiB", "price": "60s"},
    "keep_alive": {"min": "17m", "max": "3h"},
    "residency": {"poll": "100ms"},
    "models": {
        "llama3.2:3b": {"client_keep_alive": "respect"},
        "gemma3:4b": {"client_keep_alive": "at_least"},
        "llama3.1:8b": {"client_keep_alive": "at_most"},
        "qwen3:8b": {"never_keep": True},
    },
}
FOR_EVER = 100 * 365 * 86400  # Ollama's own "for ever" is 292 years
LLM, EMBED = "llama3.2:1b", "nomic-embed-text"
ENDPOINTS = [(path, LLM) for path in GENERATES] + [(path, EMBED) for path in EMBEDS]
UNMANAGED = {path: {**body, "stream": False} for path, body in GENERATES.items()} | EMBEDS


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ollama(start_module_ollama: "StartOllama") -> "RealOllama":
    return await start_module_ollama(FAST)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keepwarm(ollama: "RealOllama") -> AsyncIterator[Keepwarm]:
    async with running_keepwarm(ollama.url, SETTINGS) as keepwarm:
        yield keepwarm


async def left_seconds(ollama: "RealOllama", model: str) -> float | None:
    """How long Ollama will keep the model from now on; None: it is not resident."""
    for line in await ollama.ps():
        if line["name"].removesuffix(":latest") == model:
            expires_at = datetime.fromisoformat(line["expires_at"][:19]).replace(tzinfo=UTC)
            return (expires_at - datetime.now(UTC)).total_seconds()
    return None


async def kept_for(ollama: "RealOllama", model: str, seconds: float) -> None:
    """It is kept for this long, by seconds: ranks differ by that. Ollama says so once an unload's pause is over."""

    async def is_so() -> bool:
        left = await left_seconds(ollama, model)
        return left is not None and abs(left - seconds) < 8

    await until(is_so, 12, f"{model} kept for {seconds} s")


def told(answer: Answer) -> bytes:
    """An answer's text without the number that /v1/messages gives to each."""
    return re.sub(rb'"req_[0-9a-f]+"', b'"req"', answer.content)


async def shown(keepwarm: Keepwarm) -> set[str]:
    """The residents that the proxy knows of."""
    return {line["model"].removesuffix(":latest") for line in (await keepwarm.state())["residents"]}


async def unload_all(keepwarm: Keepwarm, ollama: "RealOllama") -> None:
    """As `ollama stop` does; the proxy has seen it, and Ollama looks for no memory any more: half a second if alone."""
    for model in await resident(ollama):
        await post(keepwarm.url, "/api/generate", {"model": model, "keep_alive": 0})

    async def empty() -> bool:
        return not await resident(ollama) | await shown(keepwarm)

    await until(empty, 20, "all gone")
    await pause_is_over(ollama)


@pytest.mark.parametrize(("path", "model"), ENDPOINTS)
async def test_the_chosen_keep_alive_is_seen_after_a_cold_request(
    ollama: "RealOllama", keepwarm: Keepwarm, path: str, model: str
) -> None:
    await unload_all(keepwarm, ollama)
    await ask(keepwarm.url, model, path)
    await kept_for(ollama, model, CHOSEN)


@pytest.mark.parametrize(("path", "model"), ENDPOINTS)
async def test_the_chosen_keep_alive_is_seen_after_a_request_to_a_model_that_others_loaded(
    ollama: "RealOllama", keepwarm: Keepwarm, path: str, model: str
) -> None:
    await unload_all(keepwarm, ollama)
    await ask(ollama.url, model, "/api/embed" if model == EMBED else "/api/generate", keep_alive="5m")
    happenings = Happenings(ollama)

    async def seen() -> bool:
        return model in await shown(keepwarm)

    await until(seen, 1, f"{model} in /state")
    await ask(keepwarm.url, model, path)
    await kept_for(ollama, model, CHOSEN)
    assert happenings.all() == []


@pytest.mark.parametrize(("path", "model"), ENDPOINTS)
async def test_the_chosen_keep_alive_replaces_what_others_left_without_a_reload(
    ollama: "RealOllama", keepwarm: Keepwarm, path: str, model: str
) -> None:
    await ask(ollama.url, model, "/api/embed" if model == EMBED else "/api/generate", keep_alive="5m")
    await kept_for(ollama, model, 300)

    async def seen() -> bool:  # when the proxy looks again
        state = await keepwarm.state()
        left: dict[str, float] = {line["model"]: line["expires_at"] - state["at"] for line in state["residents"]}
        return any(292 < left.get(name, 0) < 308 for name in (model, f"{model}:latest"))

    await until(seen, 1, f"{model} kept for 300 s in /state")
    happenings = Happenings(ollama)
    await ask(keepwarm.url, model, path)
    await kept_for(ollama, model, CHOSEN)
    assert happenings.all() == []


@pytest.mark.parametrize("sent", [5, "5m", -1, "-1", "-1s", 0, "0", 0.5, None, "soon", [], True])
async def test_a_hard_coded_keep_alive_is_overridden(ollama: "RealOllama", keepwarm: Keepwarm, sent: Any) -> None:
    await ask(keepwarm.url, LLM, "/api/chat", keep_alive=sent)
    await kept_for(ollama, LLM, CHOSEN)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"llama3.2:1b","prompt":"Hello","stream":false,"keep_alive":5,"Keep_Alive":"2h","KEEP_ALIVE":0}',
        b'{"keep_alive":5,"model":"llama3.2:1b","stream":false,"prompt":"Hello","keep\\u005falive":"2h"}',
        b'{"model":"gemma3:27b","keep_alive":-1,"MODEL":"llama3.2:1b","prompt":"Hello","stream":false,"keep_alive":1}',
    ],
    ids=["other cases", "escaped", "the last model counts"],
)
async def test_no_spelling_of_the_key_gets_past(ollama: "RealOllama", keepwarm: Keepwarm, body: bytes) -> None:
    answer = await post(keepwarm.url, "/api/generate", body)
    assert answer.status == 200
    assert answer.json()["model"] == LLM
    await kept_for(ollama, LLM, CHOSEN)


@pytest.mark.parametrize(
    ("model", "sent", "seconds"),
    [
        ("llama3.2:3b", {"keep_alive": "5m"}, 300),
        ("llama3.2:3b", {}, CHOSEN),
        ("gemma3:4b", {"keep_alive": "5m"}, CHOSEN),
        ("gemma3:4b", {"keep_alive": 7200}, 7200),
        ("gemma3:4b", {"keep_alive": -1}, 3 * 3600),  # our maximum: nothing is for ever
        ("gemma3:4b", {}, CHOSEN),
        ("llama3.1:8b", {"keep_alive": "5m"}, 300),
        ("llama3.1:8b", {"keep_alive": "2h"}, CHOSEN),
        ("llama3.1:8b", {"keep_alive": -1}, CHOSEN),
        ("llama3.1:8b", {}, CHOSEN),
    ],
)
async def test_respect_at_least_and_at_most_weigh_the_client_s_own(
    ollama: "RealOllama", keepwarm: Keepwarm, model: str, sent: dict[str, Any], seconds: float
) -> None:
    await unload_all(keepwarm, ollama)  # beside others its keep_alive might be lifted to keep the order of worth
    await ask(keepwarm.url, model, **sent)
    await kept_for(ollama, model, seconds)


async def test_respect_lets_a_client_keep_for_ever(ollama: "RealOllama", keepwarm: Keepwarm) -> None:
    await unload_all(keepwarm, ollama)
    await ask(keepwarm.url, "llama3.2:3b", keep_alive=-1)

    async def for_ever() -> bool:
        return (await left_seconds(ollama, "llama3.2:3b") or 0) > FOR_EVER

    await until(for_ever, 12, "for ever")
    await ask(keepwarm.url, "llama3.2:3b", keep_alive="-1")  # Ollama alone would refuse it: it counts as none
    await kept_for(ollama, "llama3.2:3b", CHOSEN)


@pytest.mark.parametrize(
    ("model", "path", "body"),
    [
        (LLM, "/api/generate", {}),
        (LLM, "/api/generate", {"prompt": "", "keep_alive": "0s"}),
        (LLM, "/api/chat", {"messages": []}),
        (EMBED, "/api/generate", {}),
    ],
)
async def test_an_explicit_unload_is_obeyed(
    ollama: "RealOllama", keepwarm: Keepwarm, model: str, path: str, body: dict[str, Any]
) -> None:
    await unload_all(keepwarm, ollama)
    await ask(keepwarm.url, model, "/api/embed" if model == EMBED else "/api/generate")
    assert await resident(ollama) == {model}
    answer = await post(keepwarm.url, path, {"model": model, "keep_alive": 0, "stream": False, **body})
    assert answer.status == 200
    assert answer.json()["done_reason"] == "unload"

    async def gone() -> bool:
        return not await resident(ollama) | await shown(keepwarm)

    await until(gone, 2, f"{model} gone")


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat", "/v1/chat/completions", "/v1/messages"])
async def test_a_model_that_is_never_kept_leaves_after_its_answer(
    ollama: "RealOllama", keepwarm: Keepwarm, path: str
) -> None:
    await unload_all(keepwarm, ollama)
    happenings = Happenings(ollama)
    await ask(keepwarm.url, "qwen3:8b", path)

    async def gone() -> bool:
        return not await resident(ollama)

    await until(gone, 2, "qwen3:8b gone")
    assert happenings.all().count(("loaded", "qwen3:8b")) == 1


@pytest.mark.parametrize("path", [*GENERATES, *EMBEDS])
async def test_the_error_for_an_unknown_model_is_ollama_s_own(
    ollama: "RealOllama", keepwarm: Keepwarm, path: str
) -> None:
    body = {"model": "no-such-model", **UNMANAGED[path]}
    ours, own = await post(keepwarm.url, path, body), await post(ollama.url, path, body)
    assert (ours.status, told(ours)) == (own.status, told(own))
    assert ours.status == 404


@pytest.mark.parametrize("path", [*GENERATES, *EMBEDS])
@pytest.mark.parametrize(
    "body", [b"{", b"", b'"Hello"', b'{"model":7}', b'{"prompt":"Hello"}', b'{"model":""}', b'{"model":"a"} {}']
)
async def test_the_error_for_a_senseless_body_is_ollama_s_own(
    ollama: "RealOllama", keepwarm: Keepwarm, path: str, body: bytes
) -> None:
    ours, own = await post(keepwarm.url, path, body), await post(ollama.url, path, body)
    assert (ours.status, told(ours)) == (own.status, told(own))
    assert ours.status in {400, 404}


async def test_num_ctx_is_respected_and_the_same_again_reloads_nothing(
    ollama: "RealOllama", keepwarm: Keepwarm
) -> None:
    await unload_all(keepwarm, ollama)
    happenings = Happenings(ollama)
    for path in ("/api/generate", "/api/chat", "/api/generate"):
        await ask(keepwarm.url, LLM, path, options={"num_ctx": 2048, "num_predict": 9})
    [context] = [line["context_length"] for line in await ollama.ps() if line["name"] == LLM]
    assert context == 2048
    assert happenings.of("loaded") == [LLM]


async def test_two_names_with_the_same_weights_are_one_model(ollama: "RealOllama", keepwarm: Keepwarm) -> None:
    await ask(keepwarm.url, LLM)
    happenings = Happenings(ollama)
    assert (await post(keepwarm.url, "/api/copy", {"source": LLM, "destination": "second-name"})).status == 200
    warm_before = await keepwarm.metric("keepwarm_requests_total", outcome="warm")
    answer = await ask(keepwarm.url, "second-name")
    assert answer.json()["model"] == "second-name"
    assert await keepwarm.metric("keepwarm_requests_total", outcome="warm") == warm_before + 1
    await ask(keepwarm.url, LLM)
    assert happenings.all() == []
    state = await keepwarm.state()
    assert sum("second-name" in line["model"] for line in state["residents"] + state["models"]) == 0
