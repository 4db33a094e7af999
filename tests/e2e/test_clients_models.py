"""What Python's client libraries do with models without running them: list, show, pull, copy, delete; and keep_alive.

Everything is as Ollama itself answers it, apart from how long a model is kept.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import ollama
import openai
import pytest
import pytest_asyncio

from tests.e2e.keepwarm_process import Keepwarm, running_keepwarm
from tests.e2e.ollama_build.model_template import STANDARD_MODELS
from tests.e2e.proxy_fixtures import FAST, ask, until

if TYPE_CHECKING:
    from tests.e2e.conftest import StartOllama
    from tests.e2e.real_ollama import RealOllama

pytestmark = pytest.mark.e2e

LLM, EMBED = "llama3.2:1b", "nomic-embed-text"
# 17 minutes is nobody's default. At this price no model is worth more than its minimum, so that is what is chosen.
CHOSEN = 17 * 60
SETTINGS = {"memory": {"budget": "24GiB", "price": "60s"}, "keep_alive": {"min": "17m", "max": "3h"}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream(start_module_ollama: "StartOllama") -> "RealOllama":
    return await start_module_ollama(FAST, [model for model in STANDARD_MODELS if model.name in (LLM, EMBED)])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keepwarm(upstream: "RealOllama") -> AsyncIterator[Keepwarm]:
    """With a resident model."""
    async with running_keepwarm(upstream.url, SETTINGS) as keepwarm:
        await ask(keepwarm.url, LLM)
        yield keepwarm


def openai_client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0)


def names(listed: Any) -> set[str]:
    return {str(model.model) for model in listed.models}


# Ollama orders models by the second of their making, and those of the same second at random.
LOOKS: dict[str, tuple[str, Callable[[str], Any], Callable[[Any], Any]]] = {
    "ollama-list": ("/api/tags", ollama.Client, lambda client: sorted(client.list().models, key=str)),
    "ollama-ps": ("/api/ps", ollama.Client, lambda client: client.ps()),
    "ollama-show": ("/api/show", ollama.Client, lambda client: client.show(LLM)),
    "openai-models": ("/v1/models", openai_client, lambda client: sorted(client.models.list(), key=str)),
    "openai-model": ("/v1/models", openai_client, lambda client: client.models.retrieve(LLM)),
}


@pytest.mark.parametrize(("path", "client", "look"), LOOKS.values(), ids=LOOKS)
async def test_a_look_at_the_models_shows_what_ollama_shows_and_is_counted(
    upstream: "RealOllama", keepwarm: Keepwarm, path: str, client: Callable[[str], Any], look: Callable[[Any], Any]
) -> None:
    before = await keepwarm.metric("keepwarm_passthrough_requests_total", path=path)
    with closing(client(keepwarm.url)) as through, closing(client(upstream.url)) as direct:
        seen = look(through)
        assert LLM in str(seen)
        assert seen == look(direct)

    async def is_counted() -> bool:
        return await keepwarm.metric("keepwarm_passthrough_requests_total", path=path, outcome="answered") == before + 1

    await until(is_counted, 5, f"one more request to {path}")


async def test_a_keep_alive_that_a_client_sends_is_overridden_as_the_client_s_own_ps_shows(keepwarm: Keepwarm) -> None:
    async with ollama.AsyncClient(keepwarm.url) as client:
        for asked in (0, 5, "2h", -1):
            await client.generate(LLM, "Hello", keep_alive=asked)
            [model] = (await client.ps()).models
            assert model.model == LLM
            assert model.expires_at is not None
            assert abs((model.expires_at - datetime.now(UTC)).total_seconds() - CHOSEN) < 8


@pytest.mark.parametrize("stream", [False, True])
async def test_a_pull_that_fails_says_why_in_ollama_s_own_words(
    upstream: "RealOllama", keepwarm: Keepwarm, *, stream: bool
) -> None:
    nowhere = f"127.0.0.1:{upstream.port}/library/no-such-model"  # an Ollama is a registry that knows no model
    errors = []
    for url in (keepwarm.url, upstream.url):
        async with ollama.AsyncClient(url) as client:
            with pytest.raises(ollama.ResponseError, match="pull model manifest: file does not exist") as raised:
                await _pulled(client, nowhere, stream=stream)
        errors.append((raised.value.error, raised.value.status_code))
    assert errors[0] == errors[1]


async def test_a_copy_can_be_used_and_deleted(keepwarm: Keepwarm) -> None:
    async with ollama.AsyncClient(keepwarm.url) as client:
        await client.copy(LLM, "a-copy")
        assert (await client.generate("a-copy", "Hello")).model == "a-copy"
        assert "a-copy:latest" in names(await client.list())
        await client.delete("a-copy")
        assert "a-copy:latest" not in names(await client.list())
        with pytest.raises(ollama.ResponseError, match="model 'a-copy' not found"):
            await client.generate("a-copy", "Hello")


async def test_an_empty_generate_with_keep_alive_0_unloads(upstream: "RealOllama", keepwarm: Keepwarm) -> None:
    async with ollama.AsyncClient(keepwarm.url) as client:
        await client.embed(EMBED, "Hello")
        assert f"{EMBED}:latest" in names(await client.ps())
        assert (await client.generate(EMBED, keep_alive=0)).done_reason == "unload"

    async def is_gone() -> bool:
        return f"{EMBED}:latest" not in {model["name"] for model in await upstream.ps()}

    await until(is_gone, 7, f"{EMBED} gone")


async def _pulled(client: ollama.AsyncClient, model: str, *, stream: bool) -> None:
    if not stream:
        await client.pull(model, insecure=True)
        return
    async for _ in await client.pull(model, insecure=True, stream=True):
        pass
