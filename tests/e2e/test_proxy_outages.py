"""Ollama dies, keepwarm dies, keepwarm is asked to stop: nobody gets half an answer as a whole one, nothing is lost."""

import asyncio
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
import pytest

from tests.e2e.keepwarm_process import Keepwarm, running_keepwarm
from tests.e2e.ollama_build.model_template import ENDLESS_MODELS, STANDARD_MODELS
from tests.e2e.proxy_fixtures import EMBEDS, FAST, GENERATES, Happenings, ask, endless, post, until
from tests.e2e.real_ollama import RealOllama, RealOllamaOptions

if TYPE_CHECKING:
    from tests.e2e.conftest import StartOllama

pytestmark = pytest.mark.e2e

MODELS = (*STANDARD_MODELS, *ENDLESS_MODELS)
POLL = {"residency": {"poll": "200ms"}}
ABORTED = (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, ConnectionResetError)


async def outcome(url: str, path: str, body: dict[str, Any]) -> str:
    """How a request ended for its client: "aborted", "502", or "whole" with an answer that says it is done."""
    try:
        answer = await post(url, path, body)
    except ABORTED:
        return "aborted"
    if answer.status != 200:
        assert error_text(path, answer.json())
        return str(answer.status)
    ends = {"/api": b'"done":true', "/v1/messages": b"message_stop"}
    end = next((mark for start, mark in ends.items() if path.startswith(start)), b"data: [DONE]")
    assert end in answer.content[-1000:], f"ended cleanly in the middle: {answer.content[-300:]!r}"
    return "whole"


def error_text(path: str, told: Any) -> str:
    """An error's text, in the shape of the API that was called."""
    if path.startswith("/v1"):
        assert path != "/v1/messages" or told["type"] == "error"
        return str(told["error"]["message"])
    return str(told["error"])


async def ready(keepwarm: Keepwarm, *, wanted: bool, seconds: float = 3) -> None:
    async def is_so() -> bool:
        return await keepwarm.ready() is wanted

    await until(is_so, seconds, f"ready: {wanted}")


async def test_ollama_is_killed_under_load_and_comes_back(start_ollama: "StartOllama") -> None:
    slow = RealOllamaOptions(load_mib_per_s=4096, num_parallel=4)  # phi4:14b loads for 2.5 s
    ollama = await start_ollama(slow, MODELS)
    async with running_keepwarm(ollama.url, POLL) as keepwarm:
        await ask(keepwarm.url, "endless-a", options={"num_predict": 1})
        begun = ("/api/generate", True), ("/api/chat", False), ("/v1/chat/completions", True), ("/v1/messages", True)
        clients = [(path, endless(path, stream=streamed)) for path, streamed in begun]
        clients += [(path, {"model": "phi4:14b", **GENERATES[path]}) for path in ("/api/chat", "/v1/chat/completions")]
        tasks = [asyncio.create_task(outcome(keepwarm.url, path, body)) for path, body in clients]
        await asyncio.sleep(1.5)  # streams stream, others wait in silence, phi4:14b is being loaded
        assert not any(task.done() for task in tasks)
        await ollama.kill()
        ended = await asyncio.wait_for(asyncio.gather(*tasks), 5)
        assert ended == ["aborted", "502", "aborted", "aborted", "502", "502"]

        await ready(keepwarm, wanted=False)
        for path, body in (GENERATES | EMBEDS).items():
            refused = await post(keepwarm.url, path, {"model": "llama3.2:1b", **body})
            assert refused.status == 502
            assert ollama.url in error_text(path, refused.json())
            assert refused.seconds < 1
        assert (await post(keepwarm.url, "/api/show", {"model": "llama3.2:1b"})).status == 502

        await ollama.start()
        for model in ("llama3.2:1b", "endless-a", "phi4:14b"):
            await ask(keepwarm.url, model, options={"num_predict": 1})
        await ready(keepwarm, wanted=True)
        assert await keepwarm.metric("keepwarm_requests_in_flight") == 0
        happenings = Happenings(ollama)
        await ask(keepwarm.url, "phi4:14b")
        assert happenings.all() == []


async def test_requests_in_a_loop_survive_a_restart_of_ollama(start_ollama: "StartOllama") -> None:
    ollama = await start_ollama(FAST)
    async with running_keepwarm(ollama.url, POLL) as keepwarm:
        stop, seen = asyncio.Event(), []

        async def client(model: str, path: str) -> None:
            while not stop.is_set():
                seen.append(await outcome(keepwarm.url, path, {"model": model, **GENERATES[path], "stream": True}))
                await asyncio.sleep(0.05)

        async with asyncio.TaskGroup() as group:
            for model in ("llama3.2:1b", "gemma3:4b"):
                for path in ("/api/chat", "/v1/chat/completions"):
                    group.create_task(client(model, path))
            for _ in range(2):
                await asyncio.sleep(1.5)
                await ollama.kill()
                await asyncio.sleep(0.5)
                await ollama.start()
            await asyncio.sleep(1.5)
            stop.set()
        assert set(seen) <= {"whole", "aborted", "502"}
        assert seen[-4:] == ["whole"] * 4
        await ready(keepwarm, wanted=True)
        assert (await keepwarm.state())["waiting"] == 0


async def test_a_runner_that_dies_is_told_as_ollama_tells_it_and_counts_as_its_failure(
    start_ollama: "StartOllama",
) -> None:
    """Ollama ends a stream of /v1 then as if it were whole: clients get it as it is, the metrics say what it was."""
    ollama = await start_ollama(RealOllamaOptions(num_parallel=8), MODELS)
    async with running_keepwarm(ollama.url) as keepwarm:  # asks for the residents every 5 s
        await ask(keepwarm.url, "endless-a", options={"num_predict": 1})
        streams = [await begin(keepwarm.url, 100_000, path) for path in GENERATES]
        chat = "/v1/chat/completions"
        whole = asyncio.create_task(post(keepwarm.url, chat, endless(chat, stream=False)))
        await asyncio.wait_for(asyncio.gather(*(begun.wait() for _, begun in streams)), 5)

        async def all_are_there() -> bool:
            return await keepwarm.metric("keepwarm_requests_in_flight") == len(streams) + 1

        await until(all_are_there, 3, "all in flight")
        ollama.kill_runners()
        contents = await asyncio.wait_for(asyncio.gather(*(stream for stream, _ in streams)), 5)
        assert all(b"error" in content[-200:] for content in contents[:2])  # /api/generate, /api/chat
        assert (await whole).status == 500
        assert await keepwarm.metric("keepwarm_requests_total", outcome="upstream_error") == len(streams) + 1
        assert await keepwarm.metric("keepwarm_requests_in_flight") == 0
        await ask(keepwarm.url, "endless-a", options={"num_predict": 1})
        await knows_residents(keepwarm, ollama)  # in /api/ps it stayed until it was asked for, and loaded anew


async def test_a_stream_that_ollama_breaks_off_at_a_stray_byte_counts_as_its_failure(
    start_ollama: "StartOllama",
) -> None:
    ollama = await start_ollama(FAST)
    async with running_keepwarm(ollama.url) as keepwarm:
        path = "/v1/chat/completions"
        hot = {"model": "llama3.2:1b", **GENERATES[path], "stream": True, "temperature": 20}  # writes any token
        answers = [await post(keepwarm.url, path, hot) for _ in range(20)]
        assert all(answer.status == 200 for answer in answers)
        whole = sum(b"data: [DONE]" in answer.content for answer in answers)
        assert whole < len(answers)
        assert await keepwarm.metric("keepwarm_requests_total", outcome="upstream_error") == len(answers) - whole
        assert await keepwarm.metric("keepwarm_requests_in_flight") == 0


async def test_an_ollama_that_stands_still_for_20_seconds_loses_nobody(start_ollama: "StartOllama") -> None:
    """Stopped by SIGSTOP, as a machine that swaps or sleeps: longer than the 5 s that /api/ps is waited for."""
    ollama = await start_ollama(FAST, MODELS)
    async with running_keepwarm(ollama.url, POLL) as keepwarm:
        for model in ("llama3.2:1b", "endless-a"):
            await ask(keepwarm.url, model, options={"num_predict": 1})
        stream, begun = await begin(keepwarm.url, 3000)
        await begun.wait()
        with ollama.standing_still():
            paths = ("/api/chat", "/v1/chat/completions", "/v1/messages")
            asked = [("llama3.2:1b", path) for path in paths] + [("gemma3:4b", path) for path in paths]
            tasks = [
                asyncio.create_task(outcome(keepwarm.url, path, {"model": model, **GENERATES[path], "stream": True}))
                for model, path in asked
            ]
            await ready(keepwarm, wanted=False, seconds=8)
            await asyncio.sleep(14)
            assert not any(task.done() for task in tasks)
        assert await asyncio.wait_for(asyncio.gather(*tasks), 20) == ["whole"] * len(tasks)
        last = (await asyncio.wait_for(stream, 20)).strip().rsplit(b"\n", 1)[1]
        assert msgspec.json.decode(last)["eval_count"] == 3000
        await ready(keepwarm, wanted=True)
        await knows_residents(keepwarm, ollama)


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/v1/messages"])
async def test_what_somebody_unloads_or_loads_beside_the_proxy_is_no_error(
    start_ollama: "StartOllama", path: str
) -> None:
    ollama = await start_ollama(FAST)
    async with running_keepwarm(ollama.url) as keepwarm:  # asks for the residents every 5 s
        for _ in range(2):
            assert (
                await outcome(keepwarm.url, path, {"model": "llama3.2:1b", **GENERATES[path], "stream": True})
                == "whole"
            )
            await ollama.post("/api/generate", model="llama3.2:1b", keep_alive=0)
            await ollama.post("/api/generate", model="gemma3:4b", prompt="")
        await knows_residents(keepwarm, ollama)


async def knows_residents(keepwarm: Keepwarm, ollama: RealOllama) -> None:
    async def is_so() -> bool:
        known = {(line["model"], line["bytes"]) for line in (await keepwarm.state())["residents"]}
        return known == {(line["name"], line["size"]) for line in await ollama.ps()}

    await until(is_so, 8, "residents known")


async def begin(url: str, tokens: int, path: str = "/api/generate") -> tuple[asyncio.Task[bytes], asyncio.Event]:
    """A stream of so many tokens; the event: its first chunk has come."""
    begun = asyncio.Event()

    async def read() -> bytes:
        pieces = []
        body = endless(path, tokens, stream=True)
        async with aiohttp.ClientSession() as session, session.post(f"{url}{path}", json=body) as answer:
            assert answer.status == 200
            async for piece in answer.content.iter_any():
                pieces.append(piece)
                begun.set()
        return b"".join(pieces)

    return asyncio.create_task(read()), begun


async def test_a_stop_lets_answers_finish_and_the_history_survives(start_ollama: "StartOllama") -> None:
    ollama = await start_ollama(FAST, MODELS)
    async with running_keepwarm(ollama.url, POLL) as keepwarm:
        for _ in range(3):
            await ask(keepwarm.url, "llama3.2:1b")
        stream, begun = await begin(keepwarm.url, 1500)
        await begun.wait()
        waits = asyncio.create_task(ask(keepwarm.url, "gemma3:4b"))  # a load is under way
        await asyncio.sleep(0.1)
        before = await keepwarm.explain("llama3.2:1b")
        keepwarm.terminate()
        await asyncio.sleep(0.2)
        assert not stream.done()
        with pytest.raises(aiohttp.ClientConnectionError):
            await post(keepwarm.url, "/api/version", b"")
        await keepwarm.ended()  # with 0
        last = (await stream).strip().rsplit(b"\n", 1)[1]
        assert msgspec.json.decode(last)["eval_count"] == 1500
        assert (await waits).status == 200
        assert rows(keepwarm) == {"llama3.2:1b": 3, "endless-a:latest": 1, "gemma3:4b": 1}

        await keepwarm.start()
        after = await keepwarm.explain("llama3.2:1b")
        assert after["uses_per_hour"] == pytest.approx(before["uses_per_hour"], rel=0.01)
        assert after["idle_seconds"] == pytest.approx(before["idle_seconds"], abs=20)
        assert after["load_seconds"] == pytest.approx(before["load_seconds"], rel=0.01)  # learnt, not the guess
        assert (await ask(keepwarm.url, "llama3.2:1b")).seconds < 0.5  # still resident, and known to be
        assert await keepwarm.metric("keepwarm_requests_total", outcome="warm") == 1


async def test_a_stop_ends_in_time_what_does_not_finish(start_ollama: "StartOllama") -> None:
    ollama = await start_ollama(FAST, MODELS)
    settings = {"server": {"listen": "127.0.0.1:0", "shutdown_grace": "1s"}}
    async with running_keepwarm(ollama.url, settings) as keepwarm:
        stream, begun = await begin(keepwarm.url, 100_000)
        await begun.wait()
        terminated = time.monotonic()
        await keepwarm.stop()  # with 0
        assert 0.9 < time.monotonic() - terminated < 4
        with pytest.raises(ABORTED):
            await stream
        seconds = (await ask(ollama.url, "endless-a", options={"num_predict": 1})).seconds
        assert seconds < 1  # nobody generates for a client that is gone


async def test_a_kill_loses_at_most_ten_seconds(start_ollama: "StartOllama") -> None:
    ollama = await start_ollama(FAST)
    async with running_keepwarm(ollama.url) as keepwarm:
        for _ in range(5):
            await ask(keepwarm.url, "llama3.2:1b")
        known = await keepwarm.explain("llama3.2:1b")
        await asyncio.sleep(10)
        keepwarm.kill()
        assert rows(keepwarm) == {"llama3.2:1b": 5}
        await keepwarm.start()
        after = await keepwarm.explain("llama3.2:1b")
        assert after["uses_per_hour"] == pytest.approx(known["uses_per_hour"], rel=0.05)
        assert after["load_seconds"] == known["load_seconds"]


def rows(keepwarm: Keepwarm) -> dict[str, int]:
    """Rows per model in the usage history."""
    with closing(sqlite3.connect(f"file:{keepwarm.store}?mode=ro", uri=True)) as database:
        return dict(database.execute("SELECT model, count(*) FROM requests GROUP BY model"))
