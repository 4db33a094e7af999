"""langchain-ollama through the proxy: the answers are Ollama's own, counted, and the models kept. Tools: _tools.py."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from langchain_ollama import ChatOllama, OllamaEmbeddings

from tests.e2e.keepwarm_process import Keepwarm, running_keepwarm
from tests.e2e.ollama_build.model_template import STANDARD_MODELS
from tests.e2e.proxy_fixtures import FAST, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from langchain_core.messages import AIMessage

    from tests.e2e.conftest import StartOllama
    from tests.e2e.real_ollama import RealOllama

pytestmark = pytest.mark.e2e

LLM, EMBED = "llama3.2:1b", "nomic-embed-text"
TEXTS = ["a proxy", "a server"]
# 17 minutes is nobody's default. At this price no model is worth more than its minimum, so that is what is chosen.
CHOSEN = 17 * 60
SETTINGS = {"memory": {"budget": "24GiB", "price": "60s"}, "keep_alive": {"min": "17m", "max": "3h"}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream(start_module_ollama: "StartOllama") -> "RealOllama":
    return await start_module_ollama(FAST, [model for model in STANDARD_MODELS if model.name in (LLM, EMBED)])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keepwarm(upstream: "RealOllama") -> AsyncIterator[Keepwarm]:
    async with running_keepwarm(upstream.url, SETTINGS) as keepwarm:
        yield keepwarm


def at(url: str) -> dict[str, Any]:
    """Where to; its objects can't be closed, so they shall keep no connection."""
    return {"base_url": url, "client_kwargs": {"limits": httpx.Limits(max_keepalive_connections=0)}}


def chat(url: str) -> ChatOllama:
    return ChatOllama(model=LLM, temperature=0, seed=1, num_predict=64, **at(url))


def embeddings(url: str) -> OllamaEmbeddings:
    return OllamaEmbeddings(model=EMBED, **at(url))


async def counted(keepwarm: Keepwarm, model: str, endpoint: str) -> tuple[float, float, float]:
    """The requests for the model through this endpoint, and its tokens in and out; once no request is under way."""

    async def quiet() -> bool:
        return await keepwarm.metric("keepwarm_requests_in_flight") == 0

    await until(quiet, 5, "every answer's end is noticed")
    return (
        await keepwarm.metric("keepwarm_requests_total", model=model, endpoint=endpoint),
        await keepwarm.metric("keepwarm_tokens_total", model=model, direction="in"),
        await keepwarm.metric("keepwarm_tokens_total", model=model, direction="out"),
    )


async def whole(url: str) -> "AIMessage":
    return chat(url).invoke("Hello")


async def whole_later(url: str) -> "AIMessage":
    return await chat(url).ainvoke("Hello")


async def streamed(url: str) -> "AIMessage":
    first, *others = chat(url).stream("Hello")
    assert others
    return sum(others, first)


async def streamed_later(url: str) -> "AIMessage":
    first, *others = [part async for part in chat(url).astream("Hello")]
    assert others
    return sum(others, first)


@pytest.mark.parametrize("call", [whole, whole_later, streamed, streamed_later])
async def test_a_chat_is_ollama_s_own_and_counted_with_the_tokens_that_the_client_sees(
    upstream: "RealOllama", keepwarm: Keepwarm, call: "Callable[[str], Awaitable[AIMessage]]"
) -> None:
    before = await counted(keepwarm, LLM, "/api/chat")
    through = await call(keepwarm.url)
    after = await counted(keepwarm, LLM, "/api/chat")
    direct = await call(upstream.url)
    assert through.content
    assert (through.content, through.usage_metadata) == (direct.content, direct.usage_metadata)
    seen = through.usage_metadata
    assert seen is not None
    expected = (1, seen["input_tokens"], seen["output_tokens"])
    assert tuple(now - then for now, then in zip(after, before, strict=True)) == expected


async def test_embeddings_are_ollama_s_own_and_counted(upstream: "RealOllama", keepwarm: Keepwarm) -> None:
    through, direct = embeddings(keepwarm.url), embeddings(upstream.url)
    assert through.embed_documents(TEXTS) == direct.embed_documents(TEXTS)
    assert await through.aembed_query(TEXTS[0]) == await direct.aembed_query(TEXTS[0])
    requests, tokens_in, tokens_out = await counted(keepwarm, f"{EMBED}:latest", "/api/embed")
    assert (requests, tokens_out) == (2, 0)
    assert tokens_in > 2


async def test_a_hard_coded_keep_alive_of_0_does_not_unload(upstream: "RealOllama", keepwarm: Keepwarm) -> None:
    ChatOllama(model=LLM, keep_alive=0, **at(keepwarm.url)).invoke("Hello")
    [expires_at] = [line["expires_at"] for line in await upstream.ps() if line["name"] == LLM]
    left = datetime.fromisoformat(expires_at) - datetime.now(UTC)
    assert abs(left.total_seconds() - CHOSEN) < 8
