"""The calls by which an Ollama is managed, on a real socket: what is sent, what is understood, what is refused."""

import asyncio
import math
from collections import deque
from typing import Any

import pytest
from aiohttp import web

from proxy.domain.model import ModelFacts, ObservedResident, RunnerOptions
from proxy.upstream.api import OllamaApi, UpstreamError
from tests.unit.upstream.fake_ollama import GIB, LINE, LLM, TAGS, asking, shown

JsonAnswer = bytes | dict[str, Any]


async def test_residents_are_what_ps_shows() -> None:
    async with asking(ps={"models": [LINE, {**LINE, "name": "b"}]}) as (api, fake):
        first, second = await api.residents()
    assert first == ObservedResident("llama3.2:1b", 3 * GIB, 2 * GIB, 8192, 1785578400.123456)
    assert first.spilled_bytes == GIB
    assert second.model == "b:latest"
    assert fake.asked == [("GET", "/api/ps", None)]


async def test_no_residents_is_an_answer_too() -> None:
    async with asking(ps={"models": []}) as (api, _):
        assert await api.residents() == ()


@pytest.mark.parametrize(
    ("text", "expires_at"),
    [
        ("2026-08-01T10:00:00Z", 1785578400.0),
        ("2026-08-01T10:00:00.5Z", 1785578400.5),
        ("2026-08-01T05:30:00.000000001-04:30", 1785578400.0),
        ("2318-11-10T23:14:40.123456789+01:00", math.inf),  # what keep_alive -1 comes to: 292 years from now
        ("0001-01-01T00:00:00Z", -62135596800.0),  # Go's zero time
    ],
)
async def test_expires_at_is_read_as_go_writes_it(text: str, expires_at: float) -> None:
    async with asking(ps={"models": [{**LINE, "expires_at": text}]}) as (api, _):
        [resident] = await api.residents()
    assert resident.expires_at == expires_at


async def test_an_older_ollama_tells_no_context_length() -> None:
    line = {key: value for key, value in LINE.items() if key != "context_length"}
    async with asking(ps={"models": [line]}) as (api, _):
        [resident] = await api.residents()
    assert resident.context_length == 0


async def test_a_url_with_a_path_is_taken_as_it_is() -> None:
    async with asking(ps={"models": []}) as (api, fake):
        behind = OllamaApi(api._session, api._url + "/ollama/")  # noqa: SLF001 - the same server behind a path
        with pytest.raises(UpstreamError, match="404"):
            await behind.residents()
    assert fake.asked == [("GET", "/ollama/api/ps", None)]


async def test_facts_of_a_language_model_are_ollamas_own_formula() -> None:
    async with asking(show=shown(LLM, capabilities=["completion", "tools"]), tags=TAGS) as (api, fake):
        facts = await api.facts("llama3.1:8b")
    assert facts == ModelFacts(
        model="llama3.1:8b",
        weights="/blobs/sha256-1",
        file_bytes=5 * GIB,
        kv_bytes_per_token=2 * 32 * 8 * 128 * 2,
        train_context=131072,
    )
    assert fake.asked[0] == ("POST", "/api/show", {"model": "llama3.1:8b"})


async def test_facts_of_a_model_with_heads_per_layer_and_a_key_length_take_the_largest() -> None:
    info = {
        "general.architecture": "gptoss",
        "gptoss.block_count": 24,
        "gptoss.attention.head_count": [64] * 24,
        "gptoss.attention.head_count_kv": [8, 0] * 12,
        "gptoss.attention.key_length": 64,
        "gptoss.embedding_length": 2880,
        "gptoss.context_length": 131072,
        "gptoss.expert_count": 32,
    }
    async with asking(show=shown(info), tags=TAGS) as (api, _):
        facts = await api.facts("llama3.1:8b")
    assert facts is not None
    assert facts.kv_bytes_per_token == 2 * 24 * 8 * 64 * 2


async def test_without_kv_heads_every_head_has_its_own() -> None:
    info = {key: value for key, value in LLM.items() if not key.endswith("head_count_kv")}
    async with asking(show=shown(info), tags=TAGS) as (api, _):
        facts = await api.facts("llama3.1:8b")
    assert facts is not None
    assert facts.kv_bytes_per_token == 2 * 32 * 32 * 128 * 2


async def test_facts_of_an_embedding_model_say_that_it_only_embeds() -> None:
    info = {"general.architecture": "nomic-bert", "nomic-bert.block_count": 12, "nomic-bert.context_length": 2048}
    async with asking(show=shown(info, capabilities=["embedding"]), tags=TAGS) as (api, _):
        facts = await api.facts("nomic-embed-text:latest")
    assert facts == ModelFacts(
        "nomic-embed-text:latest", "/blobs/sha256-1", file_bytes=0, train_context=2048, embedding_only=True
    )


@pytest.mark.parametrize("capabilities", [None, [], ["completion"], ["completion", "embedding"]])
async def test_a_model_that_completes_or_does_not_tell_is_no_embedding_model(capabilities: list[str] | None) -> None:
    async with asking(show=shown(LLM, capabilities=capabilities), tags=TAGS) as (api, _):
        facts = await api.facts("llama3.1:8b")
    assert facts is not None
    assert not facts.embedding_only


async def test_the_modelfiles_num_ctx_is_the_models_default() -> None:
    parameters = 'stop    "<|end|>"\nnum_ctx                        16384\nstop "num_ctx 5"'
    async with asking(show=shown(LLM, parameters=parameters), tags=TAGS) as (api, _):
        facts = await api.facts("llama3.1:8b")
    assert facts is not None
    assert facts.default_num_ctx == 16384


async def test_a_model_of_which_show_tells_nothing_is_its_own_weights() -> None:
    async with asking(show={"details": {}, "model_info": None, "capabilities": None}, tags=TAGS) as (api, _):
        assert await api.facts("llama3.1:8b") == ModelFacts("llama3.1:8b", "llama3.1:8b", 5 * GIB)


@pytest.mark.parametrize("status", [400, 404])
async def test_a_model_that_ollama_does_not_know_has_no_facts(status: int) -> None:
    async with asking(show=web.Response(status=status, text='{"error":"model not found"}')) as (api, fake):
        assert await api.facts("nobody:latest") is None
    assert len(fake.asked) == 1


async def test_a_model_that_runs_elsewhere_has_no_facts() -> None:
    async with asking(show=shown(LLM, remote_host="https://ollama.com:443"), tags=TAGS) as (api, _):
        assert await api.facts("big:latest") is None


async def test_a_load_is_a_generate_without_a_prompt() -> None:
    options = RunnerOptions((("num_ctx", 8192), ("use_mmap", True)), shift=False)
    async with asking(generate={"done": True}) as (api, fake):
        await api.load("llama3.1:8b", options, 600, embedding_only=False)
        await api.load("llama3.1:8b", RunnerOptions(), -1, embedding_only=False)
    full, plain = (body for _, _, body in fake.asked)
    assert [(method, path) for method, path, _ in fake.asked] == [("POST", "/api/generate")] * 2
    assert full["model"] == plain["model"] == "llama3.1:8b"
    assert not full.get("prompt")
    assert full["stream"] is False
    assert (full["keep_alive"], plain["keep_alive"]) == (600, -1)
    assert full["options"] == {"num_ctx": 8192, "use_mmap": True}
    assert full["shift"] is False
    assert "shift" not in plain
    assert not plain.get("options")


async def test_an_embedding_model_is_loaded_by_an_embed_without_input() -> None:
    async with asking(embed={"embeddings": []}) as (api, fake):
        await api.load("nomic:latest", RunnerOptions((("num_ctx", 512),)), 300, embedding_only=True)
    [(method, path, body)] = fake.asked
    assert (method, path) == ("POST", "/api/embed")
    assert not body["input"]
    assert (body["model"], body["keep_alive"], body["options"]) == ("nomic:latest", 300, {"num_ctx": 512})


async def test_a_load_that_ollama_refuses_is_an_error_with_its_words() -> None:
    refused = web.json_response({"error": "model requires more system memory"}, status=500)
    async with asking(generate=refused) as (api, _):
        with pytest.raises(UpstreamError, match=r"/api/generate answered 500.*more system memory"):
            await api.load("a:latest", RunnerOptions(), 300, embedding_only=False)


async def test_an_unload_is_a_generate_with_keep_alive_0_and_ends_when_ps_shows_the_model_no_more() -> None:
    mine, other = {**LINE, "name": "a:latest"}, {**LINE, "name": "b:latest"}
    ps = deque[Any]([{"models": [mine, other]}, {"models": [mine]}, {"models": [other]}, {"models": [mine]}])
    async with asking(generate={"done": True, "done_reason": "unload"}, ps=ps) as (api, fake):
        await api.unload("a:latest", 5.0)
    (method, path, body), *looks = fake.asked
    assert (method, path) == ("POST", "/api/generate")
    assert body["model"] == "a:latest"
    assert body["keep_alive"] == 0
    assert not body.get("prompt")
    assert looks == [("GET", "/api/ps", None)] * 3


async def test_an_unload_that_does_not_happen_is_an_error_when_patience_ends() -> None:
    line = {**LINE, "name": "a:latest"}
    async with asking(generate={"done": True}, ps={"models": [line]}) as (api, _):
        began = asyncio.get_running_loop().time()
        with pytest.raises(UpstreamError, match=r"a:latest is still in /api/ps"):
            await api.unload("a:latest", 0.3)
        assert 0.3 <= asyncio.get_running_loop().time() - began < 1


async def test_only_json_goes_up_and_nothing_is_asked_for_compressed() -> None:
    async with asking(generate={"done": True}) as (api, fake):
        await api.load("a:latest", RunnerOptions(), 300, embedding_only=False)
    [headers] = fake.headers
    assert headers.keys() == {"Host", "Content-Type", "Content-Length"}
    assert headers["Content-Type"] == "application/json"
