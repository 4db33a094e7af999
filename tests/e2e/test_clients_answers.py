"""Python's client libraries run models through the proxy: the answers are Ollama's own, counted, and the models kept.

Each call is made with the library's blocking client and with its asynchronous one. Errors: test_clients_errors.py.
"""

import inspect
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anthropic
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

# 17 minutes is nobody's default. At this price no model is worth more than its minimum, so that is what is chosen.
CHOSEN = 17 * 60
SETTINGS = {
    "memory": {"budget": "24GiB", "price": "60s"},
    "keep_alive": {"min": "17m", "max": "3h"},
    "residency": {"poll": "100ms"},
}
LLM, EMBED = "llama3.2:1b", "nomic-embed-text:latest"
MESSAGES = [{"role": "user", "content": "Hello"}]
# Without randomness the tiny model never ends. 64 streamed tokens are more than the 4 KiB that the proxy looks at.
TOKENS = 64
OPTIONS = {"temperature": 0, "seed": 1, "num_predict": TOKENS}
SEEDED = {"temperature": 0, "seed": 1, "max_tokens": TOKENS}
NOT_RANDOM = {"max_tokens": TOKENS, "extra_body": {"temperature": 0}}  # anthropic has no parameter for temperature


@dataclass(frozen=True, slots=True)
class Seen:
    """What a library shows of an answer, and its tokens: of the prompt, generated; 0 where it shows none."""

    answer: Any
    tokens: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Call:
    """How to make a client of a library and a call with it; where that call goes to."""

    client: Callable[[str], Any]
    make: Callable[[Any], Any]
    endpoint: str
    model: str

    async def __call__(self, url: str) -> Seen:
        client = self.client(url)
        try:
            seen: Seen = await self.make(client)
        finally:
            await settled(client.close())
        return seen


CLIENTS: dict[str, Callable[[str], Any]] = {
    "ollama": ollama.Client,
    "ollama-async": ollama.AsyncClient,
    "openai": lambda url: openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0),
    "openai-async": lambda url: openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0),
    "anthropic": lambda url: anthropic.Anthropic(base_url=url, api_key="unused", max_retries=0),
    "anthropic-async": lambda url: anthropic.AsyncAnthropic(base_url=url, api_key="unused", max_retries=0),
}
CALLS: dict[str, Call] = {}


def call(endpoint: str, model: str = LLM) -> Callable[[Any], Any]:
    """Adds a function, named library_what, to the calls that the tests make with both clients of the library."""

    def add(make: Any) -> Any:
        library, _, what = make.__name__.partition("_")
        for client in (library, f"{library}-async"):
            CALLS[f"{client}-{what}"] = Call(CLIENTS[client], make, endpoint, model)
        return make

    return add


async def settled(result: Any) -> Any:
    """What a blocking client returned, or what an asynchronous one will."""
    return await result if inspect.isawaitable(result) else result


async def parts(stream: Any) -> list[Any]:
    """All parts of a streamed answer."""
    begun = await settled(stream)
    return [part async for part in begun] if hasattr(begun, "__aiter__") else list(begun)


def native(last: Any, answer: Any) -> Seen:
    return Seen(answer, (last.prompt_eval_count or 0, last.eval_count or 0))


def usual(usage: Any, answer: Any) -> Seen:
    return Seen(answer, (usage.prompt_tokens, getattr(usage, "completion_tokens", 0)))


@call("/api/chat")
async def ollama_chat(client: Any) -> Seen:
    whole = await settled(client.chat(LLM, MESSAGES, options=OPTIONS))
    return native(whole, whole.message.content)


@call("/api/chat")
async def ollama_chat_streamed(client: Any) -> Seen:
    each = await parts(client.chat(LLM, MESSAGES, options=OPTIONS, stream=True))
    return native(each[-1], [part.message.content for part in each])


@call("/api/generate")
async def ollama_generate(client: Any) -> Seen:
    whole = await settled(client.generate(LLM, "Hello", options=OPTIONS))
    return native(whole, whole.response)


@call("/api/generate")
async def ollama_generate_streamed(client: Any) -> Seen:
    each = await parts(client.generate(LLM, "Hello", options=OPTIONS, stream=True))
    return native(each[-1], [part.response for part in each])


@call("/api/generate")
async def ollama_generate_with_logprobs(client: Any) -> Seen:
    whole = await settled(client.generate(LLM, "Hello", options=OPTIONS, logprobs=True, top_logprobs=5))
    return native(whole, [each.token for each in whole.logprobs])  # 20 KiB of them come after the counts


@call("/api/embed", EMBED)
async def ollama_embed(client: Any) -> Seen:
    whole = await settled(client.embed(EMBED, ["a proxy", "a server"]))
    return native(whole, whole.embeddings)


@call("/api/embeddings", EMBED)
async def ollama_embeddings(client: Any) -> Seen:
    return Seen((await settled(client.embeddings(EMBED, "a proxy"))).embedding, (0, 0))


@call("/v1/chat/completions")
async def openai_chat(client: Any) -> Seen:
    whole = await settled(client.chat.completions.create(model=LLM, messages=MESSAGES, **SEEDED))
    return usual(whole.usage, whole.choices[0].message.content)


@call("/v1/chat/completions")
async def openai_chat_streamed(client: Any) -> Seen:
    each = await parts(client.chat.completions.create(model=LLM, messages=MESSAGES, stream=True, **SEEDED))
    assert not any(part.usage for part in each)
    return Seen([part.choices[0].delta.content for part in each], (0, 0))


@call("/v1/chat/completions")
async def openai_chat_streamed_that_includes_usage(client: Any) -> Seen:
    also = {"stream": True, "stream_options": {"include_usage": True}}
    each = await parts(client.chat.completions.create(model=LLM, messages=MESSAGES, **also, **SEEDED))
    return usual(each[-1].usage, [choice.delta.content for part in each for choice in part.choices])


@call("/v1/completions")
async def openai_completion(client: Any) -> Seen:
    whole = await settled(client.completions.create(model=LLM, prompt="Hello", **SEEDED))
    return usual(whole.usage, whole.choices[0].text)


@call("/v1/embeddings", EMBED)
async def openai_embeddings(client: Any) -> Seen:
    whole = await settled(client.embeddings.create(model=EMBED, input=["a proxy", "a server"]))
    return usual(whole.usage, [each.embedding for each in whole.data])


@call("/v1/responses")
async def openai_response(client: Any) -> Seen:
    whole = await settled(client.responses.create(model=LLM, input="Hello", temperature=0, max_output_tokens=TOKENS))
    return Seen(whole.output_text, (whole.usage.input_tokens, whole.usage.output_tokens))


@call("/v1/responses")
async def openai_response_streamed(client: Any) -> Seen:
    asked = {"model": LLM, "input": "Hello", "temperature": 0, "max_output_tokens": TOKENS}
    each = await parts(client.responses.create(stream=True, **asked))
    whole = each[-1].response
    return Seen([part.type for part in each], (whole.usage.input_tokens, whole.usage.output_tokens))


@call("/v1/messages")
async def anthropic_message(client: Any) -> Seen:
    whole = await settled(client.messages.create(model=LLM, messages=MESSAGES, **NOT_RANDOM))
    return Seen(whole.content[0].text, (whole.usage.input_tokens, whole.usage.output_tokens))


@call("/v1/messages")
async def anthropic_message_streamed(client: Any) -> Seen:
    each = await parts(client.messages.create(model=LLM, messages=MESSAGES, stream=True, **NOT_RANDOM))
    [usage] = [part.usage for part in each if part.type == "message_delta"]
    said = [part.delta.text for part in each if part.type == "content_block_delta"]
    return Seen(said, (usage.input_tokens, usage.output_tokens))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream(start_module_ollama: "StartOllama") -> "RealOllama":
    wanted = (LLM, EMBED.removesuffix(":latest"))
    return await start_module_ollama(FAST, [model for model in STANDARD_MODELS if model.name in wanted])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keepwarm(upstream: "RealOllama") -> AsyncIterator[Keepwarm]:
    """With both models loaded: all that follows is warm."""
    async with running_keepwarm(upstream.url, SETTINGS) as keepwarm:
        await ask(keepwarm.url, LLM)
        await ask(keepwarm.url, EMBED, "/api/embed")
        yield keepwarm


async def counts(keepwarm: Keepwarm, call: Call) -> tuple[float, ...]:
    """What is counted once no request is under way: all requests, this call's, the model's tokens in and out."""

    async def quiet() -> bool:
        return await keepwarm.metric("keepwarm_requests_in_flight") == 0

    await until(quiet, 5, "every answer's end is noticed")
    such = {"model": call.model, "endpoint": call.endpoint, "outcome": "warm"}
    return (
        await keepwarm.metric("keepwarm_requests_total"),
        await keepwarm.metric("keepwarm_requests_total", **such),
        await keepwarm.metric("keepwarm_tokens_total", model=call.model, direction="in"),
        await keepwarm.metric("keepwarm_tokens_total", model=call.model, direction="out"),
    )


async def left_seconds(upstream: "RealOllama", model: str) -> float:
    """How long Ollama keeps the model from now on."""
    [expires_at] = [line["expires_at"] for line in await upstream.ps() if line["name"] == model]
    return (datetime.fromisoformat(expires_at) - datetime.now(UTC)).total_seconds()


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_client_sees_what_ollama_itself_answers(upstream: "RealOllama", keepwarm: Keepwarm, call: Call) -> None:
    through = await call(keepwarm.url)
    assert through.answer
    assert through == await call(upstream.url)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_call_is_counted_once_under_its_endpoint_with_the_tokens_that_the_client_sees(
    keepwarm: Keepwarm, call: Call
) -> None:
    before = await counts(keepwarm, call)
    seen = await call(keepwarm.url)
    after = await counts(keepwarm, call)
    assert tuple(now - then for now, then in zip(after, before, strict=True)) == (1, 1, *seen.tokens)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_after_a_call_the_model_is_kept_for_as_long_as_the_policy_says(
    upstream: "RealOllama", keepwarm: Keepwarm, call: Call
) -> None:
    await ask(upstream.url, call.model, "/api/embed" if call.model == EMBED else "/api/generate", keep_alive="5m")

    async def is_seen() -> bool:
        return await keepwarm.metric("keepwarm_resident_expiry_seconds", model=call.model) <= 300

    async def is_kept() -> bool:
        return abs(await left_seconds(upstream, call.model) - CHOSEN) < 8

    await until(is_seen, 5, "the proxy has seen in /api/ps what was written past it")
    assert not await is_kept()
    await call(keepwarm.url)
    await until(is_kept, 5, f"{call.model} kept for {CHOSEN} s")  # at once, or by a call of the proxy beside this one


async def test_a_client_that_closes_its_connection_after_the_last_event_is_not_one_that_left(
    keepwarm: Keepwarm,
) -> None:
    """openai does so at `data: [DONE]`, mostly after the proxy wrote the very end, and sometimes before (1 of 15)."""
    streamed = CALLS["openai-chat_streamed_that_includes_usage"]
    before = await counts(keepwarm, streamed)
    with streamed.client(keepwarm.url) as client:
        for _ in range(60):
            await streamed.make(client)
    after = await counts(keepwarm, streamed)
    assert [now - then for now, then in zip(after, before, strict=True)][:2] == [60, 60]
