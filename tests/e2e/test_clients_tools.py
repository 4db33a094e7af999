"""Tools through the proxy: a model calls one, the client library understands the call and sends the tool's answer back.

The tiny models know nothing of tools: a grammar (`format`) leaves them nothing else to say than the call. All that
follows, from Ollama's parser on, is as with a model that knows.
"""

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import anthropic
import httpx
import ollama
import openai
import pytest
import pytest_asyncio
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_ollama import ChatOllama

from tests.e2e.keepwarm_process import Keepwarm, running_keepwarm
from tests.e2e.ollama_build.model_template import STANDARD_MODELS
from tests.e2e.proxy_fixtures import FAST

if TYPE_CHECKING:
    from tests.e2e.conftest import StartOllama
    from tests.e2e.real_ollama import RealOllama

pytestmark = pytest.mark.e2e

LLM, MODEL = "llama3.2:1b", "calls-tools"
TEMPLATE = """\
{{ if .Tools }}{{ .Tools }} Say {"name": <function-name>, "parameters": <args-dict>}
{{ end }}{{ range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}{{ range .ToolCalls }}{"name": "{{ .Function.Name }}", "parameters": {{ .Function.Arguments }}}{{ end }}\
<|im_end|>
{{ end }}<|im_start|>assistant
"""
CITY = {"type": "object", "properties": {"city": {"enum": ["Paris"]}}, "required": ["city"]}
DESCRIPTION = "The weather now"
TOOL: Any = {"type": "function", "function": {"name": "get_weather", "description": DESCRIPTION, "parameters": CITY}}
THE_CALL: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"const": "get_weather"}, "parameters": CITY},
    "required": ["name", "parameters"],
}
FORM: Any = {"type": "json_schema", "json_schema": {"name": "call", "schema": THE_CALL}}
QUESTION = "What is the weather in Paris?"
ASKED: list[Any] = [{"role": "user", "content": QUESTION}]
CALLED = ("get_weather", {"city": "Paris"})
OPTIONS: dict[str, Any] = {"temperature": 0, "seed": 1, "num_predict": 400}  # a grammar allows much white space
SHORT = {**OPTIONS, "num_predict": 24}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keepwarm(start_module_ollama: "StartOllama") -> AsyncIterator[Keepwarm]:
    upstream: RealOllama = await start_module_ollama(FAST, [model for model in STANDARD_MODELS if model.name == LLM])
    async with running_keepwarm(upstream.url) as keepwarm:
        with ollama.Client(keepwarm.url) as client:
            client.create(MODEL, from_=LLM, template=TEMPLATE)
        yield keepwarm


def test_a_model_that_a_client_creates_through_the_proxy_can_call_tools(keepwarm: Keepwarm) -> None:
    with ollama.Client(keepwarm.url) as client:
        assert "tools" in (client.show(MODEL).capabilities or [])
        assert "tools" not in (client.show(LLM).capabilities or [])


@pytest.mark.parametrize("stream", [False, True])
def test_ollama_understands_the_call_and_sends_the_tool_s_answer_back(keepwarm: Keepwarm, *, stream: bool) -> None:
    with ollama.Client(keepwarm.url) as client:
        said: Any = client.chat(MODEL, ASKED, tools=[TOOL], format=THE_CALL, options=OPTIONS, stream=stream)
        messages = [part.message for part in said] if stream else [said.message]
        [(message, made)] = [(message, made) for message in messages for made in message.tool_calls or []]
        assert (made.function.name, made.function.arguments) == CALLED
        answered = [*ASKED, message, {"role": "tool", "tool_name": "get_weather", "content": "sunny"}]
        assert client.chat(MODEL, answered, tools=[TOOL], options=SHORT).message.content


def test_ollama_s_own_refusal_of_tools_reaches_the_client(keepwarm: Keepwarm) -> None:
    with (
        ollama.Client(keepwarm.url) as client,
        pytest.raises(ollama.ResponseError, match=f"{LLM} does not support tools") as refused,
    ):
        client.chat(LLM, ASKED, tools=[TOOL])
    assert refused.value.status_code == 400


def test_openai_understands_the_call_and_sends_the_tool_s_answer_back(keepwarm: Keepwarm) -> None:
    with openai.OpenAI(base_url=f"{keepwarm.url}/v1", api_key="unused", max_retries=0) as client:
        said = client.chat.completions.create(
            model=MODEL, messages=ASKED, tools=[TOOL], response_format=FORM, temperature=0, max_tokens=400
        )
        assert said.choices[0].finish_reason == "tool_calls"
        message: Any = said.choices[0].message
        [made] = message.tool_calls
        assert (made.function.name, json.loads(made.function.arguments)) == CALLED
        answered = [*ASKED, message, {"role": "tool", "tool_call_id": made.id, "content": "sunny"}]
        final = client.chat.completions.create(model=MODEL, messages=answered, tools=[TOOL], max_tokens=24)
        assert final.choices[0].message.content


def test_openai_understands_a_streamed_call(keepwarm: Keepwarm) -> None:
    with (
        openai.OpenAI(base_url=f"{keepwarm.url}/v1", api_key="unused", max_retries=0) as client,
        client.chat.completions.stream(
            model=MODEL, messages=ASKED, tools=[TOOL], response_format=FORM, temperature=0, max_tokens=400
        ) as stream,
    ):
        final: Any = stream.get_final_completion()
    [made] = final.choices[0].message.tool_calls
    assert (made.function.name, json.loads(made.function.arguments)) == CALLED


def test_anthropic_s_tools_and_their_answers_pass(keepwarm: Keepwarm) -> None:
    """A call by the model itself is not to be had: /v1/messages has no grammar."""
    tools: Any = [{"name": "get_weather", "description": DESCRIPTION, "input_schema": CITY}]
    made = {"type": "tool_use", "id": "call_1", "name": "get_weather", "input": {"city": "Paris"}}
    result = {"type": "tool_result", "tool_use_id": "call_1", "content": "sunny"}
    answered = [*ASKED, {"role": "assistant", "content": [made]}, {"role": "user", "content": [result]}]
    with anthropic.Anthropic(base_url=keepwarm.url, api_key="unused", max_retries=0) as client:
        for messages in (ASKED, answered):
            said: Any = client.messages.create(model=MODEL, messages=messages, tools=tools, max_tokens=24)
            assert said.content[0].text


async def test_langchain_understands_the_call_and_sends_the_tool_s_answer_back(keepwarm: Keepwarm) -> None:
    # Its clients can't be closed, so they shall keep no connection.
    to: Any = {"base_url": keepwarm.url, "client_kwargs": {"limits": httpx.Limits(max_keepalive_connections=0)}}
    caller = ChatOllama(model=MODEL, format=THE_CALL, **OPTIONS, **to).bind_tools([TOOL])
    message = await caller.ainvoke(QUESTION)
    assert isinstance(message, AIMessage)
    [made] = message.tool_calls
    assert (made["name"], made["args"]) == CALLED
    answered = [HumanMessage(QUESTION), message, ToolMessage("sunny", tool_call_id=made["id"])]
    final = ChatOllama(model=MODEL, **SHORT, **to).bind_tools([TOOL]).invoke(answered)
    assert final.content
