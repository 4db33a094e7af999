"""Of model requests only keep_alive changes, and only where Ollama reads it; what is not ours passes as it came."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from proxy.domain.model import Endpoint
from tests.integration.raw_http import answer, request

if TYPE_CHECKING:
    from tests.integration.conftest import StartProxy
    from tests.integration.raw_http import Head, Wire
    from tests.integration.raw_upstream import Exchange, RawUpstream

NATIVE = [endpoint for endpoint in Endpoint if endpoint.carries_keep_alive]
OTHERS = [endpoint for endpoint in Endpoint if not endpoint.carries_keep_alive]
ODD = b'{ "prompt" : "\\u00e9\\/" ,\t"seed":123456789012345678901, "options":{"keep_alive":3}, "model":"warm"%b }\r\n'


async def sent_up(client: Wire, upstream: RawUpstream, content: bytes) -> tuple[Exchange, bytes]:
    await client.send(content)
    exchange = await upstream.next()
    body = await exchange.body()
    await exchange.reply(answer(b"{}"))
    await client.answer()
    return exchange, body


@pytest.mark.parametrize("path", NATIVE)
@pytest.mark.parametrize("theirs", [b"", b', "keep_alive" : "1s"', b',"KEEP_ALIVE":0.5,"keep_alive":null'])
async def test_ours_wins_in_the_native_endpoints_and_every_other_byte_stays(
    client: Wire, upstream: RawUpstream, path: Endpoint, theirs: bytes
) -> None:
    exchange, body = await sent_up(client, upstream, request(path, ODD % theirs))
    keep_alive = json.loads(body)["keep_alive"]
    assert isinstance(keep_alive, int)
    assert keep_alive >= 300  # keep_alive.min
    ours = b"%d" % keep_alive
    changed = theirs.replace(b'"1s"', ours).replace(b"0.5", ours).replace(b"null", ours)
    before, _, after = (ODD % changed).partition(b" }")
    assert body == (ODD % changed if theirs else before + b' ,"keep_alive":' + ours + b"}" + after)
    assert exchange.head.length == len(body)


@pytest.mark.parametrize("path", OTHERS)
async def test_the_other_endpoints_bodies_pass_unmodified(client: Wire, upstream: RawUpstream, path: Endpoint) -> None:
    content = ODD % b',"keep_alive":7'
    exchange, body = await sent_up(client, upstream, request(path, content))
    assert body == content
    assert exchange.head.length == len(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no json",
        b"[]",
        b'{"prompt":"no model","keep_alive":1}',
        b'{"model":"","keep_alive":1}',
        b'{"model":7,"keep_alive":1}',
        b'{"model":"nobody","keep_alive":1, "x" : 1e999}',
        b'{"model":"warm","keep_alive":1} and more',
        b'{"model":"warm","keep_alive":' + b"1" * 400 + b',"options":{"num_ctx":' + b"9" * 400 + b"}}",
    ],
    ids=lambda content: content.decode()[:30],
)
async def test_what_is_not_ours_passes_as_it_came(client: Wire, upstream: RawUpstream, content: bytes) -> None:
    for path in Endpoint:
        exchange, body = await sent_up(client, upstream, request(path, content))
        if b"1" * 400 in content and path.carries_keep_alive:  # that may as well be read and overwritten
            assert json.loads(body)["model"] == "warm"
        else:
            assert body == content
            assert exchange.head.length == len(content)


@pytest.mark.parametrize("model", ["big:cloud", "gpt-oss:120b-cloud", "Big:Cloud"])
async def test_a_model_that_runs_elsewhere_is_not_managed(client: Wire, upstream: RawUpstream, model: str) -> None:
    upstream.known.add(model.lower())
    content = b'{"model":"%b","keep_alive":"1s","prompt":"hi"}' % model.encode()
    for path in Endpoint:
        _, body = await sent_up(client, upstream, request(path, content))
        assert body == content
    assert not [asked for asked in upstream.managed if model.lower() in str(asked)]


@pytest.mark.parametrize("path", ["/api/chat?x=1", "/api/%63hat", "/api/chat?"])
async def test_an_endpoint_counts_however_it_is_written(client: Wire, upstream: RawUpstream, path: str) -> None:
    exchange, body = await sent_up(client, upstream, request(path, b'{"model":"warm","messages":[{}]}'))
    assert exchange.head.target == path
    assert b'"keep_alive":' in body


@pytest.mark.parametrize(
    "start", ["GET /api/chat", "PUT /api/generate", "POST /api/chat/", "POST /API/chat", "POST /x/api/chat"]
)
async def test_what_only_looks_like_an_endpoint_is_not_touched(client: Wire, upstream: RawUpstream, start: str) -> None:
    method, path = start.split()
    content = b'{"model":"warm","keep_alive":1}'
    _, body = await sent_up(client, upstream, request(path, content, method=method))
    assert body == content


async def test_a_cold_model_is_loaded_by_us_first_and_once_for_all_who_wait(
    upstream: RawUpstream, start_proxy: StartProxy
) -> None:
    upstream.load_may_end.clear()
    proxy = await start_proxy(upstream.url)
    clients = [await proxy.client() for _ in range(5)]
    for number, client in enumerate(clients):
        content = b'{"model":"cold","options":{"num_ctx":2048,"seed":%d},"prompt":"hi"}' % number
        await client.send(request("/api/generate", content))
    await asyncio.sleep(0.2)
    assert upstream.nothing_arrived()
    upstream.load_may_end.set()
    for _ in clients:
        exchange = await upstream.next()
        assert json.loads(await exchange.body())["keep_alive"] >= 300
        await exchange.reply(answer(b"ok"))
    for client in clients:
        assert (await client.answer())[1] == b"ok"
    [load] = [body for path, body in upstream.managed if path == "/api/generate"]
    assert load["model"] == "cold:latest"
    assert load["options"] == {"num_ctx": 2048}
    assert not load["prompt"]


async def test_a_load_that_fails_lets_the_requests_through_as_they_came(
    upstream: RawUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(upstream.url)
    as_ollama = upstream.manage

    async def no_loads(head: Head, body: Any, wire: Wire) -> bytes:
        if head.target == "/api/generate":
            return answer(b'{"error":"no room"}', status="500 Internal Server Error")
        return await as_ollama(head, body, wire)

    upstream.manage = no_loads
    client = await proxy.client()
    content = b'{"model":"cold","prompt":"hi"}'
    await client.send(request("/api/generate", content))
    exchange = await upstream.next()
    assert await exchange.body() == content
    await exchange.reply(answer(b'{"error":"no room"}', status="500 Internal Server Error"))
    head, body = await client.answer()
    assert (head.status, body) == (500, b'{"error":"no room"}')


async def test_an_explicit_unload_is_obeyed_and_answered(client: Wire, upstream: RawUpstream) -> None:
    """As `ollama stop` sends it."""
    await client.send(request("/api/generate", b'{"model":"warm","prompt":"","keep_alive":0}'))
    arrived = asyncio.create_task(upstream.next())
    answered = asyncio.create_task(client.answer())
    await asyncio.wait([arrived, answered], return_when=asyncio.FIRST_COMPLETED)
    if arrived.done():
        body = json.loads(await arrived.result().body())
        assert body["keep_alive"] == 0
        await arrived.result().reply(answer(b'{"done":true}'))
    else:
        assert [body["keep_alive"] for path, body in upstream.managed if path == "/api/generate"] == [0]
    assert (await answered)[0].status == 200
    arrived.cancel()
