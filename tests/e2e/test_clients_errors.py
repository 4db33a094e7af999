"""What Python's client libraries say when a request fails: each raises its own error, never one about a strange answer.

The words are Ollama's own where it answers, and the proxy's where it doesn't. Pulls: test_clients_models.py.
"""

import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anthropic
import httpx
import ollama
import openai
import pytest
import pytest_asyncio
from langchain_ollama import ChatOllama, OllamaEmbeddings

from tests.e2e.keepwarm_process import Keepwarm, running_keepwarm
from tests.e2e.ollama_build.model_template import STANDARD_MODELS
from tests.e2e.proxy_fixtures import FAST, ask, until

if TYPE_CHECKING:
    from tests.e2e.conftest import StartOllama
    from tests.e2e.real_ollama import RealOllama

pytestmark = pytest.mark.e2e

LLM, EMBED, UNKNOWN = "llama3.2:1b", "nomic-embed-text", "no-such-model"
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream(start_module_ollama: "StartOllama") -> "RealOllama":
    return await start_module_ollama(FAST, [model for model in STANDARD_MODELS if model.name in (LLM, EMBED)])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keepwarm(upstream: "RealOllama") -> AsyncIterator[Keepwarm]:
    async with running_keepwarm(upstream.url) as keepwarm:
        yield keepwarm


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def orphaned(start_module_ollama: "StartOllama") -> AsyncIterator[tuple[Keepwarm, str]]:
    """The proxy of an Ollama that was stopped, and where that was. One of its two models was asked for before."""
    stopped = await start_module_ollama(FAST, [model for model in STANDARD_MODELS if model.name in (LLM, EMBED)])
    async with running_keepwarm(stopped.url) as keepwarm:
        await ask(keepwarm.url, LLM)
        await stopped.stop()
        yield keepwarm, stopped.url


@dataclass(frozen=True, slots=True)
class Ask:
    """A call of a library that fails, and how.

    Attributes:
        client: makes a client for a URL.
        make: makes the call for a model.
        endpoint: what it asks for; None: nothing that runs a model.
        unknown: the error if Ollama has no such model.
        stopped: the error if Ollama does not run.
        words: what the library understood to be the error's text.
    """

    client: Callable[[str], Any]
    make: Callable[[Any, str], Any]
    endpoint: str | None
    unknown: type[Exception]
    stopped: type[Exception]
    words: Callable[[Any], str]

    def error(self, url: str, model: str, expected: type[Exception]) -> Any:
        """Makes the call, which must raise this error."""
        with self.client(url) as client, pytest.raises(expected) as raised:
            self.make(client, model)
        return raised.value


@contextmanager
def langchain(url: str) -> Iterator[Callable[[type[Any], str], Any]]:
    """Makes its objects: they can't be closed, so they shall keep no connection."""
    limits = httpx.Limits(max_keepalive_connections=0)
    yield lambda kind, model: kind(model=model, base_url=url, client_kwargs={"limits": limits})


def openai_client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0)


def anthropic_client(url: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=url, api_key="unused", max_retries=0)


def gathered(client: anthropic.Anthropic, model: str) -> None:
    with client.messages.stream(model=model, messages=HELLO, max_tokens=8) as stream:
        stream.get_final_message()


def native(make: Callable[[Any, str], Any], endpoint: str | None = None, client: Any = ollama.Client) -> Ask:
    return Ask(client, make, endpoint, ollama.ResponseError, ollama.ResponseError, lambda error: error.error)


def in_body(error: openai.APIStatusError) -> str:
    assert isinstance(error.body, dict)
    return str(error.body["message"])


def of_openai(make: Callable[[Any, str], Any], endpoint: str | None = None) -> Ask:
    return Ask(openai_client, make, endpoint, openai.NotFoundError, openai.InternalServerError, in_body)


def in_typed_body(error: anthropic.APIStatusError) -> str:
    assert isinstance(error.body, dict)
    assert error.body["type"] == "error"
    return str(error.body["error"]["message"])


def of_anthropic(make: Callable[[Any, str], Any]) -> Ask:
    errors = anthropic.NotFoundError, anthropic.InternalServerError
    return Ask(anthropic_client, make, "/v1/messages", *errors, in_typed_body)


V1_CHAT = "/v1/chat/completions"
ASKS = {
    "ollama-chat": native(lambda client, model: client.chat(model, HELLO), "/api/chat"),
    "ollama-stream": native(lambda client, model: list(client.chat(model, HELLO, stream=True)), "/api/chat"),
    "ollama-generate": native(lambda client, model: client.generate(model, "Hello"), "/api/generate"),
    "ollama-embed": native(lambda client, model: client.embed(model, "Hello"), "/api/embed"),
    "ollama-embeddings": native(lambda client, model: client.embeddings(model, "Hello"), "/api/embeddings"),
    "ollama-show": native(lambda client, model: client.show(model)),
    "langchain-chat": native(lambda new, model: new(ChatOllama, model).invoke("Hello"), "/api/chat", langchain),
    "langchain-embeddings": native(
        lambda new, model: new(OllamaEmbeddings, model).embed_query("Hello"), "/api/embed", langchain
    ),
    "openai-chat": of_openai(
        lambda client, model: client.chat.completions.create(model=model, messages=HELLO), V1_CHAT
    ),
    "openai-stream": of_openai(
        lambda client, model: client.chat.completions.create(model=model, messages=HELLO, stream=True), V1_CHAT
    ),
    "openai-completion": of_openai(
        lambda client, model: client.completions.create(model=model, prompt="Hello"), "/v1/completions"
    ),
    "openai-embeddings": of_openai(
        lambda client, model: client.embeddings.create(model=model, input="Hello"), "/v1/embeddings"
    ),
    "openai-response": of_openai(
        lambda client, model: client.responses.create(model=model, input="Hello"), "/v1/responses"
    ),
    "openai-model": of_openai(lambda client, model: client.models.retrieve(model)),
    "anthropic-message": of_anthropic(
        lambda client, model: client.messages.create(model=model, messages=HELLO, max_tokens=8)
    ),
    "anthropic-stream": of_anthropic(gathered),
}


async def counted(keepwarm: Keepwarm, ask: Ask, outcome: str) -> tuple[float, float]:
    """All requests that ran or would have run a model, and those of this call's endpoint that ended so."""
    return (
        await keepwarm.metric("keepwarm_requests_total"),
        await keepwarm.metric("keepwarm_requests_total", endpoint=str(ask.endpoint), outcome=outcome),
    )


async def counted_one_more(keepwarm: Keepwarm, ask: Ask, outcome: str, before: tuple[float, float]) -> None:
    """This call and nothing else is counted; a call that runs no model isn't."""
    expected = tuple(count + (ask.endpoint is not None) for count in before)

    async def is_so() -> bool:
        return await counted(keepwarm, ask, outcome) == expected

    await until(is_so, 5, f"{expected} requests")


@pytest.mark.parametrize("asked", ASKS.values(), ids=ASKS)
async def test_the_error_for_an_unknown_model_is_ollama_s_own(
    upstream: "RealOllama", keepwarm: Keepwarm, asked: Ask
) -> None:
    before = await counted(keepwarm, asked, "client_error")
    through = asked.error(keepwarm.url, UNKNOWN, asked.unknown)
    assert through.status_code == 404
    assert re.search(rf"{UNKNOWN}(:latest)?['\"] not found", asked.words(through))
    assert asked.words(through) == asked.words(asked.error(upstream.url, UNKNOWN, asked.unknown))
    await counted_one_more(keepwarm, asked, "client_error", before)


@pytest.mark.parametrize("model", [LLM, EMBED])
@pytest.mark.parametrize("asked", ASKS.values(), ids=ASKS)
async def test_while_ollama_is_stopped_the_error_says_that_keepwarm_cannot_reach_it(
    orphaned: tuple[Keepwarm, str], asked: Ask, model: str
) -> None:
    keepwarm, upstream_url = orphaned
    before = await counted(keepwarm, asked, "upstream_error")
    error = asked.error(keepwarm.url, model, asked.stopped)
    assert error.status_code == 502
    assert asked.words(error).startswith(f"keepwarm can't reach Ollama at {upstream_url}: ")
    await counted_one_more(keepwarm, asked, "upstream_error", before)


async def test_the_same_clients_go_on_when_ollama_is_back(start_ollama: "StartOllama") -> None:
    upstream = await start_ollama(FAST, [model for model in STANDARD_MODELS if model.name == LLM])
    async with running_keepwarm(upstream.url) as keepwarm:
        with ollama.Client(keepwarm.url) as own, openai_client(keepwarm.url) as other:
            assert own.generate(LLM, "Hello").response
            await upstream.stop()
            with pytest.raises(ollama.ResponseError):
                own.generate(LLM, "Hello")
            with pytest.raises(openai.InternalServerError):
                other.chat.completions.create(model=LLM, messages=HELLO)
            await upstream.start()
            assert own.generate(LLM, "Hello").response
            assert other.chat.completions.create(model=LLM, messages=HELLO).choices[0].message.content
