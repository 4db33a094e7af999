"""A JSON body above limits.json_body gets a 413 in the shape of the API called, and nothing breaks by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.domain.model import Endpoint
from tests.integration.raw_http import Wire, answer, chunk, request
from tests.integration.test_unreachable import message

if TYPE_CHECKING:
    from tests.integration.conftest import StartProxy
    from tests.integration.raw_upstream import RawUpstream

LIMIT = 100_000


@pytest.fixture
async def client(upstream: RawUpstream, start_proxy: StartProxy) -> Wire:
    proxy = await start_proxy(upstream.url, limits={"json_body": f"{LIMIT}B"})
    return await proxy.client()


def body(size: int) -> bytes:
    start = b'{"model":"warm","prompt":"'
    return start + b"x" * (size - len(start) - 2) + b'"}'


async def is_refused(client: Wire, upstream: RawUpstream, path: str) -> None:
    head, content = await client.answer()
    assert head.status == 413
    text = message(path, content)
    assert str(LIMIT) in text
    assert "limits.json_body" in text
    assert upstream.nothing_arrived()
    if head.all("connection") == ["close"]:
        assert await client.rest() == b""
    else:
        await client.send(request("/x", method="GET"))
        await (await upstream.next()).reply(answer(b"sane"))
        assert (await client.answer())[1] == b"sane"


@pytest.mark.parametrize("path", list(Endpoint))
async def test_a_declared_length_above_the_limit_is_refused(
    client: Wire, upstream: RawUpstream, path: Endpoint
) -> None:
    await client.send(request(path, body(LIMIT + 1)))
    await is_refused(client, upstream, path)


@pytest.mark.parametrize("path", [Endpoint.CHAT, Endpoint.V1_CHAT, Endpoint.V1_MESSAGES])
async def test_chunks_that_add_up_to_more_than_the_limit_are_refused(
    client: Wire, upstream: RawUpstream, path: Endpoint
) -> None:
    content = body(LIMIT + 1)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nX-Client: t\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    pieces = [content[at : at + 999] for at in range(0, len(content), 999)]
    await client.send(head + b"".join(map(chunk, pieces)) + chunk(b""))
    await is_refused(client, upstream, path)


async def test_a_refused_client_need_not_send_the_rest_to_hear_of_it(client: Wire, upstream: RawUpstream) -> None:
    await client.send(request("/api/chat", body(2 * LIMIT)).removesuffix(b"x" * LIMIT + b'"}'))
    head, content = await client.answer()
    assert head.status == 413
    assert message("/api/chat", content)
    assert head.all("connection") == ["close"]
    assert upstream.nothing_arrived()


async def test_a_client_that_asks_first_is_not_asked_for_what_is_refused(client: Wire, upstream: RawUpstream) -> None:
    content = request("/api/chat", body(2 * LIMIT), "Expect: 100-continue").partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    await client.send(content)
    head = await client.head()
    assert head.status == 413
    assert upstream.nothing_arrived()


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_of_just_the_limit_passes(client: Wire, upstream: RawUpstream, *, chunked: bool) -> None:
    content = body(LIMIT)
    if chunked:
        head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nX-Client: t\r\nTransfer-Encoding: chunked\r\n\r\n"
        await client.send(head + chunk(content) + chunk(b""))
    else:
        await client.send(request("/v1/completions", content))
    exchange = await upstream.next()
    assert await exchange.body() == content
    await exchange.reply(answer(b"ok"))
    assert (await client.answer())[1] == b"ok"


@pytest.mark.parametrize("path", ["/api/blobs/sha256:1", "/api/create", "/api/pull", "/v1/audio/transcriptions"])
async def test_what_runs_no_model_has_no_limit(client: Wire, upstream: RawUpstream, path: str) -> None:
    content = body(5 * LIMIT)
    await client.send(request(path, content))
    exchange = await upstream.next()
    assert await exchange.body() == content
    await exchange.reply(answer(b"ok"))
    assert (await client.answer())[1] == b"ok"
