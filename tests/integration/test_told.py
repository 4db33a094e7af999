"""What keepwarm tells of a request besides its metrics: headers for the client, the access log for its host."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.integration.raw_http import CHUNKED_ANSWER, Head, answer, chunk, request

if TYPE_CHECKING:
    from tests.integration.conftest import Proxy, StartProxy
    from tests.integration.raw_upstream import RawUpstream

BODY = b'{"model":"%b","prompt":"a prompt"}'
NAMES = {"x-keepwarm-request", "x-keepwarm-outcome", "x-keepwarm-waited", "x-keepwarm-keep-alive"}


@pytest.fixture
async def telling(upstream: RawUpstream, start_proxy: StartProxy) -> Proxy:
    return await start_proxy(upstream.url, server={"response_headers": True})


def told(head: Head) -> tuple[str, float, str]:
    outcome, waited, keep_alive = (head.all(f"X-Keepwarm-{name}") for name in ("Outcome", "Waited", "Keep-Alive"))
    assert [len(values) for values in (outcome, waited, keep_alive)] == [1, 1, 1]
    return outcome[0], float(waited[0]), keep_alive[0]


@pytest.mark.parametrize(("model", "outcome"), [(b"warm", "warm"), (b"cold", "cold"), (b"unheard-of", "passthrough")])
async def test_a_client_is_told_what_its_request_met(
    model: bytes, outcome: str, telling: Proxy, upstream: RawUpstream
) -> None:
    client = await telling.client()
    await client.send(request("/api/generate", BODY % model))
    exchange = await upstream.next()
    sent = json.loads(await exchange.body())
    await exchange.reply(answer(b"{}", "X-Keepwarm-Outcome: of a keepwarm behind this one"))
    head, _ = await client.answer()
    met, waited, keep_alive = told(head)
    assert met == outcome
    assert 0 <= waited < 5
    assert keep_alive == str(sent.get("keep_alive", "as_it_came"))


async def test_a_stream_is_told_with_its_head_and_stays_a_stream(telling: Proxy, upstream: RawUpstream) -> None:
    client = await telling.client()
    await client.send(request("/api/generate", BODY % b"warm"))
    exchange = await upstream.next()
    await exchange.body()
    await exchange.wire.send(CHUNKED_ANSWER + chunk(b"a"))
    assert told(await client.head())[0] == "warm"
    assert await client.chunk() == b"a"  # before the upstream said more
    await exchange.reply(chunk(b"b") + chunk(b""))
    assert [content async for content in client.chunks()] == [b"b"]


async def test_an_upstream_that_is_gone_is_told_with_the_502(telling: Proxy, upstream: RawUpstream) -> None:
    client = await telling.client()
    await client.send(request("/api/generate", BODY % b"warm"))
    exchange = await upstream.next()
    exchange.wire.reset()
    head, _ = await client.answer()
    assert (head.status, told(head)[0]) == (502, "warm")


async def test_requests_that_run_no_model_are_told_nothing(telling: Proxy, upstream: RawUpstream) -> None:
    client = await telling.client()
    await client.send(request("/api/tags", method="GET"))
    await (await upstream.next()).reply(answer(b"{}"))
    head, _ = await client.answer()
    assert not NAMES & head.names()


async def test_nobody_is_told_anything_where_nobody_asked_for_it(proxy: Proxy, upstream: RawUpstream) -> None:
    client = await proxy.client()
    await client.send(request("/api/generate", BODY % b"warm"))
    exchange = await upstream.next()
    await exchange.body()
    await exchange.reply(answer(b"{}"))
    head, _ = await client.answer()
    assert not NAMES & head.names()


async def test_the_access_log_has_one_line_for_each_request_and_no_prompt(
    upstream: RawUpstream, start_proxy: StartProxy, capfd: pytest.CaptureFixture[str]
) -> None:
    told_to = {"access": True, "format": "json", "level": "warning"}
    proxy = await start_proxy(upstream.url, log=told_to, limits={"json_body": "1kB"})
    client = await proxy.client()
    await client.send(request("/api/tags?secret=1", method="GET"))
    await (await upstream.next()).reply(answer(b"{}"))
    await client.answer()
    await client.send(request("/api/generate", BODY % b"warm"))
    exchange = await upstream.next()
    await exchange.body()
    await exchange.reply(answer(b'{"done":true,"eval_count":7}'))
    await client.answer()
    gone = await proxy.client()
    await gone.send(request("/api/generate", BODY % b"warm"))
    await upstream.next()
    gone.reset()
    refused = await proxy.client()
    await refused.send(request("/api/generate", b"x" * 2000))
    assert (await refused.answer())[0].status == 413
    await client.send(request("/api/version", method="GET"))  # over after the one that was left
    await (await upstream.next()).reply(answer(b"{}"))
    await client.answer()
    errors = capfd.readouterr().err
    lines = [json.loads(line) for line in errors.splitlines() if "proxy.access" in line]
    assert [(line.get("request_id"), line["path"], line["ending"], line["status"]) for line in lines] == [
        (None, "/api/tags", "answered", 200),
        (1, "/api/generate", "answered", 200),
        (2, "/api/generate", "client_gone", 0),
        (None, "/api/generate", "answered", 413),
        (None, "/api/version", "answered", 200),
    ]
    assert lines[1]["generated_tokens"] == 7
    assert 'prompt":"a' not in errors
    assert "secret" not in errors


PIECE = b'data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":null}]}\n\n'
SSE = "text/event-stream"


@pytest.mark.parametrize(
    ("pieces", "lines", "ending"),
    [
        ([PIECE, b"data: [DONE]\n\n"], [f"Content-Type: {SSE}"], "answered"),
        ([PIECE], [f"Content-Type: {SSE}"], "upstream_error"),
        ([PIECE], [f"Content-Type: {SSE}; charset=utf-8"], "upstream_error"),
        ([PIECE], [f"Content-Type: {SSE}", "Content-Encoding: gzip"], "answered"),  # it cannot be read
        ([b'{"data":[]}'], ["Content-Type: application/json"], "answered"),
        ([b'{"response":"Hi","done":false}\n', b'{"done":true}\n'], ["Content-Type: application/x-ndjson"], "answered"),
        ([b'{"done":false}\n', b'{"error":"EOF"}\n'], ["Content-Type: application/x-ndjson"], "upstream_error"),
    ],
)
async def test_a_stream_without_its_end_passes_as_it_came_and_is_told_as_ollamas_failure(
    pieces: list[bytes],
    lines: list[str],
    ending: str,
    upstream: RawUpstream,
    start_proxy: StartProxy,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Ollama ends a stream of /v1 like a whole one when the model's runner has died."""
    proxy = await start_proxy(upstream.url, log={"access": True, "format": "json"})
    client = await proxy.client()
    await client.send(request("/v1/chat/completions", BODY % b"warm"))
    exchange = await upstream.next()
    await exchange.body()
    head = "\r\n".join(["HTTP/1.1 200 OK", "Transfer-Encoding: chunked", *lines, "", ""])
    await exchange.reply(head.encode() + b"".join(map(chunk, pieces)) + chunk(b""))
    await client.head()
    assert [content async for content in client.chunks()] == pieces
    [line] = [json.loads(line) for line in capfd.readouterr().err.splitlines() if "proxy.access" in line]
    assert (line["ending"], line["status"]) == (ending, 200)
