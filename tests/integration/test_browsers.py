"""Web pages: what Ollama allows them stays allowed and readable, what it does not is not even begun."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.raw_http import Wire, answer, request
from tests.integration.raw_upstream import raw_upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.conftest import StartProxy
    from tests.integration.raw_http import Head
    from tests.integration.raw_upstream import RawUpstream

GOOD, EVIL = "https://app.example", "http://evil.example"
KEY = "kw_secret"
GUARDED: dict[str, Any] = {
    "keys": {"alice": sha256(KEY.encode()).hexdigest()},
    "allow": {"keyless": {"endpoints": []}},
}
COLD = b'{"model":"cold","messages":[{}]}'
TOO_LARGE = b'{"model":"cold","prompt":"' + b"x" * 2000 + b'"}'
ANSWERED = answer(b"ok", f"Access-Control-Allow-Origin: {GOOD}", "Vary: Origin")


@pytest.fixture
async def upstream() -> AsyncIterator[RawUpstream]:
    """One that takes requests from one other site, as Ollama's OLLAMA_ORIGINS would have it."""
    async with raw_upstream() as running:
        as_ollama = running.manage

        async def manage(head: Head, body: Any, wire: Wire) -> bytes:
            if head.method != "OPTIONS":
                return await as_ollama(head, body, wire)
            assert head.target == "/"
            if head.all("origin") != [GOOD]:
                return answer(status="403 Forbidden")
            return answer(b"", f"Access-Control-Allow-Origin: {GOOD}", "Vary: Origin", status="204 No Content")

        running.manage = manage
        yield running


async def test_a_page_that_ollama_allows_is_served_as_anyone(upstream: RawUpstream, start_proxy: StartProxy) -> None:
    client = await (await start_proxy(upstream.url)).client()
    for _ in range(2):
        await client.send(request("/api/chat", COLD, f"Origin: {GOOD}"))
        exchange = await upstream.next()
        assert exchange.head.all("origin") == [GOOD]
        assert b'"keep_alive"' in await exchange.body()  # it is managed
        await exchange.reply(ANSWERED)
        head, _ = await client.answer()
        assert head.all("access-control-allow-origin") == [GOOD]  # Ollama's own, and only that
    assert [path for path, _ in upstream.managed].count("/") == 1  # asked once


async def test_for_a_page_that_ollama_refuses_nothing_is_loaded(upstream: RawUpstream, start_proxy: StartProxy) -> None:
    client = await (await start_proxy(upstream.url)).client()
    await client.send(request("/api/chat", COLD, f"Origin: {EVIL}", "Content-Type: text/plain"))
    head, content = await client.answer()
    assert head.status == 403
    assert b"OLLAMA_ORIGINS" in content
    assert not head.all("access-control-allow-origin")
    assert upstream.nothing_arrived()
    assert "/api/generate" not in [path for path, _ in upstream.managed]


async def test_what_runs_no_model_is_left_to_ollama_to_refuse(upstream: RawUpstream, start_proxy: StartProxy) -> None:
    client = await (await start_proxy(upstream.url)).client()
    await client.send(request("/api/pull", b'{"model":"x"}', f"Origin: {EVIL}"))
    exchange = await upstream.next()
    assert exchange.head.all("origin") == [EVIL]
    await exchange.body()
    await exchange.reply(answer(status="403 Forbidden"))
    assert (await client.answer())[0].status == 403


@pytest.mark.parametrize("origin", [GOOD, EVIL])
async def test_what_keepwarm_itself_refuses_can_be_read_by_pages_that_ollama_allows(
    upstream: RawUpstream, start_proxy: StartProxy, origin: str
) -> None:
    proxy = await start_proxy(upstream.url, access=GUARDED, limits={"json_body": "1000B"})
    allowed = [GOOD] if origin == GOOD else []
    for status, asked in (
        (401, request("/api/chat", COLD, f"Origin: {origin}")),
        (403, request("/api/pull", COLD, f"Origin: {origin}", f"Authorization: Bearer {KEY}")),
        (413 if allowed else 403, request("/api/chat", TOO_LARGE, f"Origin: {origin}", f"Authorization: Bearer {KEY}")),
    ):
        client = await proxy.client()
        await client.send(asked)
        head, _ = await client.answer()
        assert head.status == status
        assert head.all("access-control-allow-origin") == allowed
        assert head.all("vary") == ["Origin"] * len(allowed)
    assert upstream.nothing_arrived()


async def test_that_ollama_went_away_can_be_read_by_pages_that_were_here_just_before(start_proxy: StartProxy) -> None:
    async with raw_upstream() as gone:

        async def manage(head: Head, body: Any, wire: Wire) -> bytes:
            return ANSWERED if head.method == "OPTIONS" else await gone.manage_as_ollama(head, body, wire)

        gone.manage = manage
        client = await (await start_proxy(gone.url)).client()
        await client.send(request("/api/chat", COLD.replace(b"cold", b"warm"), f"Origin: {GOOD}"))
        exchange = await gone.next()
        await exchange.body()
        await exchange.reply(ANSWERED)
        await client.answer()
    await client.send(request("/api/chat", COLD, f"Origin: {GOOD}"))
    head, _ = await client.answer()
    assert (head.status, head.all("access-control-allow-origin")) == (502, [GOOD])


async def test_a_preflight_passes_without_a_key_and_ollama_answers_it(
    upstream: RawUpstream, start_proxy: StartProxy
) -> None:
    client = await (await start_proxy(upstream.url, access=GUARDED)).client()
    asks = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization")
    await client.send(request("/api/chat", b"", f"Origin: {GOOD}", *asks, method="OPTIONS"))
    exchange = await upstream.next()
    assert exchange.head.method == "OPTIONS"
    assert exchange.head.all("access-control-request-headers") == ["authorization"]
    await exchange.reply(answer(status="204 No Content"))
    assert (await client.head()).status == 204


async def test_a_page_from_the_proxys_own_address_is_no_other_site(
    upstream: RawUpstream, start_proxy: StartProxy
) -> None:
    """Behind a web server that serves a page and keepwarm under one name; Ollama can't see that it is one."""
    client = await (await start_proxy(upstream.url)).client()
    own = b"POST /api/chat HTTP/1.1\r\nHost: keepwarm:11435\r\nX-Client: t\r\nOrigin: https://keepwarm:11435\r\n"
    await client.send(own + b"Content-Length: %d\r\n\r\n" % len(COLD) + COLD)
    exchange = await upstream.next()
    assert not exchange.head.all("origin")
    assert "/" not in [path for path, _ in upstream.managed]


async def test_a_name_that_was_rebound_to_this_machine_reads_nothing(
    upstream: RawUpstream, start_proxy: StartProxy
) -> None:
    client = await (await start_proxy(upstream.url)).client()
    await client.send(b"GET /api/tags HTTP/1.1\r\nHost: evil.example:11435\r\nX-Client: t\r\n\r\n")
    head, content = await client.answer()
    assert head.status == 403
    assert b"no name of it" in content
    assert upstream.nothing_arrived()
