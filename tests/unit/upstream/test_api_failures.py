"""The calls by which an Ollama is managed, on a real socket: every failure is an UpstreamError."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from proxy.upstream.api import OllamaApi, UpstreamError, open_session
from tests.unit.upstream.fake_ollama import LINE, LLM, TAGS, asking, shown

JsonAnswer = bytes | dict[str, Any]
WRONG: list[tuple[str, object]] = [
    ("name", None),
    ("name", 7),
    ("size", None),
    ("size", "much"),
    ("size", [1]),
    ("size_vram", {}),
    ("context_length", "x"),
    ("expires_at", None),
    ("expires_at", 7),
    ("expires_at", ""),
    ("expires_at", "soon"),
    ("expires_at", "99999-01-01T00:00:00Z"),
]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>nginx</html>",
        b"\xff\xfe",
        b'"\xff"',
        b'{"models":[{"name":"\xff"}]}',
        b"null",
        b"[]",
        b"{}",
        b"7",
        b'{"models":null}',
        b'{"models":7}',
        b'{"models":"none"}',
        b'{"models":[7]}',
        b'{"models":[null]}',
        b"[" * 100_000,
        b'{"models":[' + b"[" * 100_000,
        b'{"models":[{"name":"a"}]}',
        *(json.dumps({"models": [{**LINE, key: value}]}).encode() for key, value in WRONG),
        b'{"models":[{"name":"a","size":1e400,"size_vram":1,"expires_at":"2026-08-01T10:00:00Z"}]}',
        b'{"models":[{"name":"a","size":1e308,"size_vram":-1e308,"expires_at":7}]}',
    ],
    ids=lambda answer: answer[:60].decode(errors="replace"),
)
async def test_garbage_from_ps_is_an_error_that_names_call_and_reason(answer: bytes) -> None:
    async with asking(ps=answer) as (api, _):
        with pytest.raises(UpstreamError, match=r"/api/ps.*\S: \S"):
            await api.residents()


@pytest.mark.parametrize(
    ("show", "tags"),
    [
        (b"[]", TAGS),
        (b"7", TAGS),
        (b'"text"', TAGS),
        (b"true", TAGS),
        (b"\xff", TAGS),
        (b'{"model_info":7}', TAGS),
        (b'{"model_info":["a"]}', TAGS),
        (b'{"modelfile":7}', TAGS),
        (b'{"parameters":{"num_ctx":1}}', TAGS),
        (b'{"capabilities":7}', TAGS),
        (shown({**LLM, "llama.block_count": "many"}), TAGS),
        (shown({**LLM, "llama.block_count": -32}), TAGS),
        (shown({**LLM, "llama.attention.head_count_kv": ["x"]}), TAGS),
        (shown({**LLM, "llama.context_length": {"a": 1}}), TAGS),
        (shown(LLM), b"null"),
        (shown(LLM), b"{}"),
        (shown(LLM), {"models": [{"name": "llama3.1:8b"}]}),
        (shown(LLM), {"models": [{"name": "llama3.1:8b", "size": -1}]}),
        (shown(LLM), {"models": [{"name": "llama3.1:8b", "size": "5 GB"}]}),
        (shown(LLM), {"models": [{"name": "llama3.1:8b", "size": None}]}),
        (shown(LLM), {"models": [{"name": None, "size": 1}]}),
    ],
)
async def test_garbage_about_a_model_is_an_error_too(
    show: bytes | dict[str, Any], tags: bytes | dict[str, Any]
) -> None:
    async with asking(show=show, tags=tags) as (api, _):
        with pytest.raises(UpstreamError, match=r"/api/(show|tags)"):
            await api.facts("llama3.1:8b")


@pytest.mark.parametrize("status", [201, 302, 400, 403, 404, 500, 503])
async def test_another_status_is_an_error_with_what_ollama_said(status: int) -> None:
    async with asking(ps=web.Response(status=status, text='{"error":"out of luck"}')) as (api, _):
        with pytest.raises(UpstreamError, match=rf"/api/ps answered {status}: .*out of luck"):
            await api.residents()


async def test_a_redirect_is_not_followed() -> None:
    there = web.Response(status=307, headers={"Location": "/api/tags"})
    async with asking(ps=there, tags={"models": []}) as (api, fake):
        with pytest.raises(UpstreamError, match="/api/ps answered 307"):
            await api.residents()
    assert [path for _, path, _ in fake.asked] == ["/api/ps"]


async def test_an_answer_of_10_megabytes_is_not_swallowed() -> None:
    async with asking(ps=b'{"models":[' + b" " * 10 * 2**20 + b"]}") as (api, _):
        with pytest.raises(UpstreamError, match="/api/ps answered more than 8 MiB"):
            await api.residents()


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 2**16)


async def test_an_endless_answer_ends_at_the_limit() -> None:
    async with asking(ps=endless) as (api, _):
        with pytest.raises(UpstreamError, match="/api/ps answered more than 8 MiB"):
            await api.residents()


async def silent(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


async def stalled(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b'{"models":')
    await asyncio.sleep(60)
    return response


async def test_an_upstream_that_does_not_answer_in_5_seconds_is_an_error() -> None:
    async def seconds_until_error(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> float:
        async with asking(ps=answer) as (api, _):
            began = asyncio.get_running_loop().time()
            with pytest.raises(UpstreamError, match="/api/ps did not answer in time"):
                await api.residents()
            return asyncio.get_running_loop().time() - began

    for seconds in await asyncio.gather(seconds_until_error(silent), seconds_until_error(stalled)):
        assert 4.5 < seconds < 6


async def broken(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b'{"models":[')
    assert request.transport is not None
    request.transport.abort()
    return response


async def test_an_answer_that_breaks_off_is_an_error() -> None:
    async with asking(ps=broken) as (api, _):
        with pytest.raises(UpstreamError, match=r"/api/ps: \w+"):
            await api.residents()


async def test_nobody_there_is_an_error_that_says_so() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        async with open_session(0.5) as session:
            with pytest.raises(UpstreamError, match=rf"/api/ps: .*{port}"):
                await OllamaApi(session, f"http://127.0.0.1:{port}").residents()
