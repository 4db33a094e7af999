"""Odd requests, through the proxy to the real Ollama: Go's HTTP server understands whatever arrives of them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.e2e.keepwarm_process import running_keepwarm
from tests.e2e.ollama_build.model_template import STANDARD_MODELS
from tests.e2e.proxy_fixtures import FAST
from tests.integration.raw_http import Wire, chunk
from tests.integration.test_ambiguous_requests import AMBIGUOUS_HEADS
from tests.integration.test_http_forms import CLOSED, KEPT_OPEN, LAST, statuses

if TYPE_CHECKING:
    from tests.e2e.conftest import StartOllama

pytestmark = pytest.mark.e2e

MODEL = next(model.name for model in STANDARD_MODELS if model.kind == "llm")


async def said(url: str, content: bytes) -> bytes:
    wire = await Wire.connect(url)
    await wire.send(content)
    answers = b""
    with suppress(ConnectionError, TimeoutError):
        while piece := await asyncio.wait_for(wire.reader.read(2**16), 10):
            answers += piece
    wire.close()
    return answers


async def test_the_real_ollama_gets_nothing_that_it_calls_malformed(start_ollama: StartOllama) -> None:
    ollama = await start_ollama(FAST)
    async with running_keepwarm(ollama.url) as keepwarm:
        for name, (content, _) in KEPT_OPEN.items():
            assert b"400" not in statuses(await said(keepwarm.url, content + LAST)), name
        for name, (content, _) in CLOSED.items():
            assert b"400" not in statuses(await said(keepwarm.url, content)), name
        for name, content in AMBIGUOUS_HEADS.items():
            assert statuses(await said(keepwarm.url, content)) in ([b"400"], []), name


async def test_a_model_answers_a_chunked_request_and_those_behind_it_on_another_connection(
    start_ollama: StartOllama,
) -> None:
    ollama = await start_ollama(FAST)
    body = b'{"model":"%b","prompt":"Hello","stream":false}' % MODEL.encode()
    head = b"POST /api/generate HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with running_keepwarm(ollama.url) as keepwarm:
        for _ in range(2):
            answer = await said(keepwarm.url, head + chunk(body[:9]) + chunk(body[9:]) + b"0\r\nX-A: 1\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"\r\nConnection: close\r\n" in answer
            assert b'"done":true' in answer
