"""Python's client libraries run models through the proxy: the answers are Ollama's own, counted, and the models kept.

Each call is made as the library's own documentation makes it. Errors are in test_clients_errors.py.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
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
from tests.e2e.proxy_fixtures import FAST, until

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
}
LLM, EMBED, CALLS_TOOLS = "llama3.2:1b", "nomic-embed-text", "calls-tools"
MESSAGES: Any = [{"role": "user", "content": "Hello"}]
# Without randomness the tiny model never ends by itself. 64 streamed tokens are more than the 4 KiB that the proxy keeps.
TOKENS = 64
OPTIONS = {"temperature": 0, "seed": 1, "num_predict": TOKENS}
SEEDED: Any = {"temperature": 0, "seed": 1, "max_tokens": TOKENS}
WITHOUT_CHANCE: Any = {"max_tokens": TOKENS, "extra_body": {"temperature": 0}}  # anthropic names no temperature now
CITY = {"type": "object", "properties": {"city": {"enum": ["Paris"]}}, "required": ["city"]}
TOOLS: Any = [{"type": "function", "function": {"name": "get_weather", "description": "now", "parameters": CITY}}]
# The tiny model would never call a tool: this grammar leaves it nothing else to say. Ollama's parser makes the call of it.
SAY_THE_CALL: Any = {
    "type": "object",
    "properties": {"name": {"const": "get_weather"}, "parameters": CITY},
    "required": ["name", "parameters"],
}
TOOL_TEMPLATE = """\
{{ if .Tools }}{{ .Tools }} {"name": <function-name>, "parameters": <args-dict>}
{{ end }}{{ range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}{{ range .ToolCalls }}{"name": "{{ .Function.Name }}", "parameters": {{ .Function.Arguments }}}{{ end }}\
<|im_end|>
{{ end }}<|im_start|>assistant
"""
CALLED = ("get_weather", {"city": "Paris"})


@dataclass(frozen=True, slots=True)
class Seen:
    """What a library shows of an answer; its tokens in the prompt and generated, None if it shows no count."""

    answer: Any
    tokens: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a library, given the server's URL, and what it asks for."""

    make: Callable[[str], Seen] | Callable[[str], Awaitable[Seen]]
    endpoint: str
    model: str

    async def __call__(self, url: str) -> Seen:
        """Makes the call; one that blocks does so in a thread."""
        if inspect.iscoroutinefunction(self.make):
            return await self.make(url)
        return await asyncio.to_thread(self.make, url)


CALLS: dict[str, Call] = {}


def call(endpoint: str, model: str = LLM) -> Callable[[Any], Any]:
    """Adds a function to the calls that all tests of this file make."""

    def add(make: Any) -> Any:
        CALLS[make.__name__] = Call(make, endpoint, model)
        return make

    return add


def of_ollama(last: Any, answer: Any) -> Seen:
    return Seen(answer, (last.prompt_eval_count or 0, last.eval_count or 0))


@call("/api/chat")
def ollama_chat(url: str) -> Seen:
    with ollama.Client(url) as client:
        whole = client.chat(LLM, MESSAGES, options=OPTIONS)
    return of_ollama(whole, whole.message.content)


@call("/api/chat")
def ollama_chat_streamed(url: str) -> Seen:
    with ollama.Client(url) as client:
        parts = list(client.chat(LLM, MESSAGES, options=OPTIONS, stream=True))
    return of_ollama(parts[-1], [part.message.content for part in parts])


@call("/api/chat")
async def ollama_async_chat(url: str) -> Seen:
    async with ollama.AsyncClient(url) as client:
        whole = await client.chat(LLM, MESSAGES, options=OPTIONS)
    return of_ollama(whole, whole.message.content)


@call("/api/chat")
async def ollama_async_chat_streamed(url: str) -> Seen:
    async with ollama.AsyncClient(url) as client:
        parts = [part async for part in await client.chat(LLM, MESSAGES, options=OPTIONS, stream=True)]
    return of_ollama(parts[-1], [part.message.content for part in parts])


@call("/api/chat", CALLS_TOOLS)
def ollama_chat_that_calls_a_tool(url: str) -> Seen:
    options = {**OPTIONS, "num_predict": 400}
    with ollama.Client(url) as client:
        whole = client.chat(CALLS_TOOLS, MESSAGES, tools=TOOLS, format=SAY_THE_CALL, options=options)
    [made] = whole.message.tool_calls or []
    assert (made.function.name, made.function.arguments) == CALLED
    return of_ollama(whole, CALLED)


@call("/api/generate")
def ollama_generate(url: str) -> Seen:
    with ollama.Client(url) as client:
        whole = client.generate(LLM, "Hello", options=OPTIONS)
    return of_ollama(whole, whole.response)


@call("/api/generate")
def ollama_generate_with_logprobs(url: str) -> Seen:  # which follow the counts, 20 KiB of them
    with ollama.Client(url) as client:
        whole = client.generate(LLM, "Hello", options=OPTIONS, logprobs=True, top_logprobs=5)
    return of_ollama(whole, [each.token for each in whole.logprobs or []])


@call("/api/generate")
async def ollama_async_generate_streamed(url: str) -> Seen:
    async with ollama.AsyncClient(url) as client:
        parts = [part async for part in await client.generate(LLM, "Hello", options=OPTIONS, stream=True)]
    return of_ollama(parts[-1], [part.response for part in parts])


@call("/api/embed", EMBED)
def ollama_embed(url: str) -> Seen:
    with ollama.Client(url) as client:
        whole = client.embed(EMBED, ["a proxy", "a server"])
    return Seen(whole.embeddings, (whole.prompt_eval_count or 0, 0))


@call("/api/embed", EMBED)
async def ollama_async_embed(url: str) -> Seen:
    async with ollama.AsyncClient(url) as client:
        whole = await client.embed(EMBED, "a proxy")
    return Seen(whole.embeddings, (whole.prompt_eval_count or 0, 0))


@call("/api/embeddings", EMBED)
def ollama_embeddings_as_they_were_once(url: str) -> Seen:
    with ollama.Client(url) as client:
        return Seen(client.embeddings(EMBED, "a proxy").embedding, (0, 0))  # this answer has no counts


def openai_client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0)


def of_openai(usage: Any, answer: Any) -> Seen:
    return Seen(answer, (usage.prompt_tokens, usage.completion_tokens))


@call("/v1/chat/completions")
def openai_chat(url: str) -> Seen:
    with openai_client(url) as client:
        whole = client.chat.completions.create(model=LLM, messages=MESSAGES, **SEEDED)
    return of_openai(whole.usage, whole.choices[0].message.content)


@call("/v1/chat/completions")
def openai_chat_streamed(url: str) -> Seen:
    with openai_client(url) as client:
        parts = list(client.chat.completions.create(model=LLM, messages=MESSAGES, stream=True, **SEEDED))
    assert parts[-1].usage is None
    return Seen([part.choices[0].delta.content for part in parts], (0, 0))


@call("/v1/chat/completions")
def openai_chat_streamed_that_includes_usage(url: str) -> Seen:
    usage: Any = {"include_usage": True}
    with openai_client(url) as client:
        streamed = client.chat.completions.create(
            model=LLM, messages=MESSAGES, stream=True, stream_options=usage, **SEEDED
        )
        parts = list(streamed)
    return of_openai(parts[-1].usage, [choice.delta.content for part in parts for choice in part.choices])


@call("/v1/chat/completions")
async def openai_async_chat_streamed(url: str) -> Seen:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0) as client:
        streamed = await client.chat.completions.create(model=LLM, messages=MESSAGES, stream=True, **SEEDED)
        return Seen([part.choices[0].delta.content async for part in streamed], (0, 0))


@call("/v1/chat/completions", CALLS_TOOLS)
def openai_chat_that_calls_a_tool(url: str) -> Seen:
    form: Any = {"type": "json_schema", "json_schema": {"name": "call", "schema": SAY_THE_CALL}}
    with openai_client(url) as client:
        whole = client.chat.completions.create(
            model=CALLS_TOOLS, messages=MESSAGES, tools=TOOLS, response_format=form, temperature=0, max_tokens=400
        )
    assert whole.choices[0].finish_reason == "tool_calls"
    [made] = whole.choices[0].message.tool_calls or []
    assert made.type == "function"
    return of_openai(whole.usage, (made.function.name, made.function.arguments))


@call("/v1/completions")
def openai_completion(url: str) -> Seen:
    with openai_client(url) as client:
        whole = client.completions.create(model=LLM, prompt="Hello", **SEEDED)
    return of_openai(whole.usage, whole.choices[0].text)


@call("/v1/embeddings", EMBED)
def openai_embeddings(url: str) -> Seen:
    with openai_client(url) as client:
        whole = client.embeddings.create(model=EMBED, input=["a proxy", "a server"])
    return Seen([each.embedding for each in whole.data], (whole.usage.prompt_tokens, 0))


@call("/v1/responses")
def openai_response(url: str) -> Seen:
    with openai_client(url) as client:
        whole = client.responses.create(model=LLM, input="Hello", temperature=0, max_output_tokens=TOKENS)
    assert whole.usage is not None
    return Seen(whole.output_text, (whole.usage.input_tokens, whole.usage.output_tokens))
