"""Traces as they arrive at an OTLP receiver, and that nothing of OpenTelemetry is there where nobody asked for it."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

from proxy.app import running_app
from proxy.settings import SettingsFile
from tests.integration.conftest import settings_file
from tests.integration.otlp_receiver import otlp_receiver
from tests.integration.raw_http import CHUNKED_ANSWER, Head, Wire, answer, chunk, request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.raw_upstream import RawUpstream

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRET = "a prompt that nobody else may read"
WARM = b'{"model":"warm","prompt":"%b"}' % SECRET.encode()
COLD = b'{"model":"cold","prompt":"%b"}' % SECRET.encode()
LAST = b'{"done":true,"response":"an answer","prompt_eval_count":5,"eval_count":7}'


def traced(folder: Path, upstream: RawUpstream, endpoint: str, **more: dict[str, object]) -> SettingsFile:
    told: dict[str, dict[str, object]] = {
        "server": {"response_headers": True},
        "tracing": {"endpoint": endpoint},
        **more,
    }
    return SettingsFile(settings_file(folder, upstream.url, **told), {})


async def ask(url: str, upstream: RawUpstream, body: bytes, *headers: str) -> tuple[Head, Head]:
    """Ask and be answered; return the head that the upstream got, and the one of the answer."""
    wire = await Wire.connect(url)
    await wire.send(request("/api/generate", body, *headers))
    exchange = await upstream.next()
    await exchange.body()
    await exchange.reply(answer(LAST))
    head, _ = await wire.answer()
    wire.close()
    return exchange.head, head


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - what is waited for happens in another program
            await asyncio.sleep(0.005)


async def test_a_cold_request_arrives_as_one_trace_with_all_that_it_waited_for(
    upstream: RawUpstream, tmp_path: Path
) -> None:
    began = time.time()
    async with otlp_receiver() as receiver:
        async with running_app(traced(tmp_path, upstream, receiver.url)) as app:
            upstream_head, head = await ask(app.client_url, upstream, COLD, f"traceparent: 00-{TRACE}-{PARENT}-01")
        spans = receiver.of_request(head.all("X-Keepwarm-Request")[0])
    took = (began, time.time())
    parents = {name: span.parent for name, span in spans.items()}
    root, hold = spans["POST /api/generate"], spans["hold"]
    assert parents == {"POST /api/generate": PARENT, "hold": root.id, "load": hold.id, "upstream": root.id}
    assert {span.trace for span in spans.values()} == {TRACE}
    assert upstream_head.all("traceparent") == [f"00-{TRACE}-{spans['upstream'].id}-01"]
    assert took[0] <= root.began_at <= hold.began_at <= spans["load"].began_at <= spans["load"].ended_at
    assert spans["load"].ended_at <= hold.ended_at == spans["upstream"].began_at <= root.ended_at <= took[1]
    assert hold.ended_at - hold.began_at <= float(head.all("X-Keepwarm-Waited")[0]) + 0.001
    assert root.attributes["keepwarm.outcome"] == "cold"
    assert root.attributes["keepwarm.keep_alive"] == head.all("X-Keepwarm-Keep-Alive")[0]
    assert (root.attributes["gen_ai.usage.input_tokens"], root.attributes["gen_ai.usage.output_tokens"]) == (5, 7)
    assert receiver.resources[0]["service.name"] == "keepwarm"
    assert SECRET.encode() not in b"".join(receiver.bodies)
    assert b"an answer" not in b"".join(receiver.bodies)


async def test_requests_that_wait_for_one_load_are_linked_to_it(upstream: RawUpstream, tmp_path: Path) -> None:
    upstream.load_may_end.clear()
    async with otlp_receiver() as receiver:
        async with running_app(traced(tmp_path, upstream, receiver.url)) as app:
            first = asyncio.create_task(ask(app.client_url, upstream, COLD))
            await until(lambda: any(path == "/api/generate" for path, _ in upstream.managed))
            second = asyncio.create_task(ask(app.client_url, upstream, COLD))
            await asyncio.sleep(0.1)
            upstream.load_may_end.set()
            ids = [head.all("X-Keepwarm-Request")[0] for _, head in (await first, await second)]
        loading, joining = (receiver.of_request(number) for number in sorted(ids, key=int))
    assert joining["hold"].links == (loading["load"].id,)
    assert "load" not in joining


async def test_a_request_for_which_there_is_no_place_is_traced_with_its_status(
    upstream: RawUpstream, tmp_path: Path
) -> None:
    upstream.load_may_end.clear()
    async with otlp_receiver() as receiver:
        async with running_app(traced(tmp_path, upstream, receiver.url, limits={"waiting": 1})) as app:
            first = asyncio.create_task(ask(app.client_url, upstream, COLD))
            await until(lambda: any(path == "/api/generate" for path, _ in upstream.managed))
            wire = await Wire.connect(app.client_url)
            await wire.send(request("/api/generate", COLD))
            assert (await wire.answer())[0].status == 429
            wire.close()
            upstream.load_may_end.set()
            await first
        (refused,) = [span.attributes for span in receiver.spans if span.name == "request"]
    assert refused == {"http.response.status_code": 429, "keepwarm.ending": "answered"}


async def test_a_stream_is_traced_to_its_end_and_one_without_a_traceparent_gets_one(
    upstream: RawUpstream, tmp_path: Path
) -> None:
    async with otlp_receiver() as receiver:
        async with running_app(traced(tmp_path, upstream, receiver.url)) as app:
            wire = await Wire.connect(app.client_url)
            await wire.send(request("/api/generate", WARM))
            exchange = await upstream.next()
            await exchange.body()
            await exchange.wire.send(CHUNKED_ANSWER + chunk(b"a"))
            head = await wire.head()
            await asyncio.sleep(0.2)
            await exchange.reply(chunk(LAST) + chunk(b""))
            assert [content async for content in wire.chunks()] == [b"a", LAST]
            wire.close()
        spans = receiver.of_request(head.all("X-Keepwarm-Request")[0])
    assert set(spans) == {"POST /api/generate", "upstream"}
    assert spans["upstream"].ended_at - spans["upstream"].began_at >= 0.2
    (sent,) = exchange.head.all("traceparent")
    assert sent.startswith(f"00-{spans['upstream'].trace}-{spans['upstream'].id}-")


async def test_opentelemetrys_own_variables_say_the_rest(upstream: RawUpstream, tmp_path: Path) -> None:
    """In a process of its own, because they are that process's."""
    async with otlp_receiver() as receiver:
        traced(tmp_path, upstream, receiver.url + "/v1/traces")
        environment = {"OTEL_SERVICE_NAME": "my-gpu", "OTEL_BSP_SCHEDULE_DELAY": "10"}
        process, url = await serving(tmp_path, environment)
        await ask(url, upstream, WARM)
        await until(lambda: receiver.spans != [])  # while it runs, not only at its end
        process.terminate()
        assert await process.wait() == 0
    assert receiver.resources[0]["service.name"] == "my-gpu"


async def serving(folder: Path, environment: dict[str, str]) -> tuple[asyncio.subprocess.Process, str]:
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(folder / "keepwarm.yaml")]
    process = await asyncio.create_subprocess_exec(
        *command, stderr=asyncio.subprocess.PIPE, env={**os.environ, **environment}
    )
    assert process.stderr
    async with asyncio.timeout(20):
        while b" -> http" not in (line := await process.stderr.readline()):
            assert line, "it ended before it served"
    return process, line.split()[2].decode()


async def test_a_receiver_that_does_not_answer_costs_no_request_and_no_more_than_3_seconds_at_the_end(
    upstream: RawUpstream, tmp_path: Path
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        traced(tmp_path, upstream, f"http://127.0.0.1:{silent.getsockname()[1]}")
        process, url = await serving(tmp_path, {"OTEL_BSP_SCHEDULE_DELAY": "10"})
        for _ in range(3):
            began = time.monotonic()
            _, head = await ask(url, upstream, WARM)
            assert head.status == 200
            assert time.monotonic() - began < 1
        process.terminate()
        async with asyncio.timeout(5):
            assert await process.wait() == 0


def test_without_the_extra_the_settings_say_what_to_install(tmp_path: Path) -> None:
    result = run_with(tmp_path, "", "http://127.0.0.1:4318")
    assert result.returncode == 2
    assert f"{tmp_path}/keepwarm.yaml:2:3: tracing.endpoint: expected none, or OpenTelemetry" in result.stderr
    assert "pip install 'keepwarm[otel]' (got http://127.0.0.1:4318)" in result.stderr


def test_without_tracing_nothing_of_opentelemetry_is_imported(tmp_path: Path) -> None:
    result = run_with(tmp_path, "raise SystemExit('opentelemetry was imported')", "none")
    assert (result.returncode, result.stderr) == (0, "")


def run_with(folder: Path, opentelemetry: str, endpoint: str) -> subprocess.CompletedProcess[str]:
    """Check these settings, and import all of the proxy that serves, with this code in OpenTelemetry's place."""
    (folder / "opentelemetry.py").write_text(opentelemetry)
    (folder / "keepwarm.yaml").write_text(f"tracing:\n  endpoint: {endpoint}\n")
    command = "import proxy.app, sys; from proxy.cli import main; main(['check', sys.argv[1]])"
    return subprocess.run(
        [sys.executable, "-c", command, str(folder / "keepwarm.yaml")],
        env={**os.environ, "PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        check=False,
    )
