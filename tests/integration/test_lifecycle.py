"""Starts, restarts and outages: what the proxy remembers, what it can do without, and that it recovers by itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import sys
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from proxy.app import running_app
from proxy.settings import SettingsFile
from proxy.sim.server import SimulatedOllama
from proxy.sim.site import SimulatedOllamaOptions
from tests.integration.conftest import settings_file
from tests.integration.raw_http import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from proxy.app import App

MODEL, OTHER = "gemma3:4b", "llama3.2:1b"
FAST = SimulatedOllamaOptions(speed=20.0)
ERRORS = {  # the shape of an error by the API that was called, and where in it the message stands
    "/api/chat": lambda body: body["error"],
    "/v1/chat/completions": lambda body: body["error"]["message"],
    "/v1/messages": lambda body: body["error"]["message"],
}


@pytest.fixture
async def ollama() -> AsyncIterator[SimulatedOllama]:
    simulated = SimulatedOllama(FAST)
    await simulated.start()
    yield simulated
    await simulated.stop()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as opened:
        yield opened


@asynccontextmanager
async def proxy(folder: Path, upstream_url: str, **settings: dict[str, object]) -> AsyncIterator[App]:
    """Run the app until the end of the block."""
    file = SettingsFile(settings_file(folder, upstream_url, residency={"poll": "100ms"}, **settings), {})
    async with running_app(file) as app:
        yield app


async def ask(session: aiohttp.ClientSession, url: str, model: str = MODEL, path: str = "/api/chat") -> tuple[int, Any]:
    messages = [{"role": "user", "content": "hi"}]
    body = {"model": model, "messages": messages, "stream": False, "max_tokens": 8}
    async with session.post(f"{url}{path}", json=body) as answer:
        return answer.status, await answer.json()


async def get(session: aiohttp.ClientSession, url: str) -> tuple[int, str]:
    async with session.get(url) as answer:
        return answer.status, await answer.text()


async def state(session: aiohttp.ClientSession, admin_url: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((await get(session, f"{admin_url}/state"))[1])
    return content


async def known(session: aiohttp.ClientSession, admin_url: str) -> dict[str, Any]:
    """What is known of the models, by name."""
    return {model["model"]: model for model in (await state(session, admin_url))["models"]}


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


# What is remembered


async def test_what_was_learnt_of_the_models_survives_a_restart(
    tmp_path: Path, ollama: SimulatedOllama, session: aiohttp.ClientSession
) -> None:
    async with proxy(tmp_path, ollama.url) as app:
        for model in (MODEL, OTHER, MODEL):
            assert (await ask(session, app.client_url, model))[0] == 200
        before = await known(session, app.admin_url)
    async with proxy(tmp_path, ollama.url) as app:
        after = await known(session, app.admin_url)
        assert after.keys() == before.keys() == {MODEL, OTHER}
        for model, now in after.items():
            assert now["load_seconds"] == pytest.approx(before[model]["load_seconds"], rel=0.01)
            assert now["uses_per_hour"] == pytest.approx(before[model]["uses_per_hour"], rel=0.01)
            assert now["last_used_at"] == pytest.approx(before[model]["last_used_at"], abs=0.1)
        assert (await get(session, f"{app.admin_url}/models/{MODEL}/explain"))[0] == 200


async def test_a_kill_loses_nothing_that_is_older_than_10_seconds(
    tmp_path: Path, ollama: SimulatedOllama, session: aiohttp.ClientSession
) -> None:
    listen = f"127.0.0.1:{unused_port()}"
    config = settings_file(tmp_path, ollama.url, admin={"listen": listen})
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(config)]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE, env=dict(os.environ))
    assert process.stderr is not None
    try:
        line = b""
        while b"admin http" not in line:
            line = await process.stderr.readline()
        client = line.split()[2].decode()
        assert (await ask(session, client))[0] == 200

        async def written() -> bool:
            with closing(sqlite3.connect(tmp_path / "usage.sqlite")) as database:
                (rows,) = database.execute("SELECT count(*) FROM requests").fetchone()
                saved = database.execute("SELECT body FROM state").fetchone()
            return rows == 1 and saved is not None and MODEL in json.loads(saved[0])["models"]

        await until(written, 10)
        assert MODEL in await known(session, f"http://{listen}")
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    async with proxy(tmp_path, ollama.url) as app:
        assert (await known(session, app.admin_url))[MODEL]["uses_per_hour"] > 0.9


# A usage history that does not work


def _in_a_folder_that_is_a_file(folder: Path) -> Path:
    (folder / "file").write_text("")
    return folder / "file" / "usage.sqlite"


def _where_a_folder_stands(folder: Path) -> Path:
    (folder / "usage.sqlite").mkdir()
    return folder / "usage.sqlite"


def _of_another_program(folder: Path) -> Path:
    with closing(sqlite3.connect(folder / "other.sqlite")) as database:
        database.execute("CREATE TABLE theirs (x)")
    return folder / "other.sqlite"


def _set_aside(folder: Path) -> list[str]:
    """The names of what was set aside, its content as it was."""
    found = list(folder.glob("usage.sqlite.broken-*"))
    assert all(path.read_bytes().startswith(b"not a database") for path in found)
    return [path.name for path in found]


PLACES = [_in_a_folder_that_is_a_file, _where_a_folder_stands, _of_another_program]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
async def test_where_the_usage_history_cannot_be_written_everything_else_works_and_it_is_said_once(
    tmp_path: Path,
    ollama: SimulatedOllama,
    session: aiohttp.ClientSession,
    capfd: pytest.CaptureFixture[str],
    place: Callable[[Path], Path],
) -> None:
    async with proxy(tmp_path, ollama.url, store={"path": str(place(tmp_path))}) as app:
        for _ in range(2):
            assert (await ask(session, app.client_url))[0] == 200
        shown = await state(session, app.admin_url)
        assert shown["store"]["up"] is False
        assert shown["residents"][0]["keep_alive"] >= 300
        assert "keepwarm_store_up 0.0" in (await get(session, f"{app.admin_url}/metrics"))[1]
    lines = [line for line in capfd.readouterr().err.splitlines() if "usage history" in line]
    assert len(lines) == 1, lines
    assert "WARNING" in lines[0]


async def test_a_broken_usage_history_is_set_aside_and_a_new_one_begun(
    tmp_path: Path, ollama: SimulatedOllama, session: aiohttp.ClientSession, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "usage.sqlite").write_bytes(b"not a database at all" * 1000)
    async with proxy(tmp_path, ollama.url) as app:
        assert (await ask(session, app.client_url))[0] == 200
        assert (await state(session, app.admin_url))["store"]["up"] is True
    (aside,) = _set_aside(tmp_path)
    (line,) = [line for line in capfd.readouterr().err.splitlines() if f"set aside as {aside}" in line]
    assert "ERROR" in line
    async with proxy(tmp_path, ollama.url) as app:
        assert MODEL in await known(session, app.admin_url)


@pytest.mark.parametrize("body", ["", "{", "[]", "7", "{}", '{"version": 99}', '{"version": 1}'])
async def test_statistics_that_make_no_sense_are_learnt_anew(
    tmp_path: Path,
    ollama: SimulatedOllama,
    session: aiohttp.ClientSession,
    capfd: pytest.CaptureFixture[str],
    body: str,
) -> None:
    async with proxy(tmp_path, ollama.url) as app:
        await ask(session, app.client_url)
    with closing(sqlite3.connect(tmp_path / "usage.sqlite")) as database, database:
        assert database.execute("UPDATE state SET body = ?", (body,)).rowcount == 1
    capfd.readouterr()
    async with proxy(tmp_path, ollama.url) as app:
        (line,) = [line for line in capfd.readouterr().err.splitlines() if "statistics" in line]
        assert "WARNING" in line
        assert (await ask(session, app.client_url, OTHER))[0] == 200
        assert OTHER in await known(session, app.admin_url)


async def test_statistics_that_cannot_be_read_at_the_start_are_not_overwritten_but_read_when_that_works(
    tmp_path: Path, ollama: SimulatedOllama, session: aiohttp.ClientSession
) -> None:
    async with proxy(tmp_path, ollama.url) as app:
        await ask(session, app.client_url)
    with closing(sqlite3.connect(tmp_path / "usage.sqlite", isolation_level=None)) as somebody:
        somebody.execute("PRAGMA locking_mode = EXCLUSIVE")
        somebody.execute("BEGIN EXCLUSIVE")
        async with proxy(tmp_path, ollama.url) as app:

            async def is_known() -> bool:
                model = (await known(session, app.admin_url)).get(MODEL)
                return model is not None and model["uses_per_hour"] > 0.9

            assert not await is_known()
            assert (await ask(session, app.client_url, OTHER))[0] == 200
            somebody.close()
            await until(is_known, 12)
            assert (await state(session, app.admin_url))["store"]["up"] is True


# An Ollama that is not there


async def test_without_ollama_it_starts_says_so_in_each_apis_words_and_needs_no_restart_when_ollama_comes(
    tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    port = unused_port()
    simulated = SimulatedOllama(FAST)
    async with proxy(tmp_path, f"http://127.0.0.1:{port}") as app:
        assert (await get(session, f"{app.admin_url}/healthz"))[0] == 200
        status, text = await get(session, f"{app.admin_url}/readyz")
        assert (status, "Ollama does not answer" in text) == (503, True)
        assert (await state(session, app.admin_url))["upstream_known"] is False
        for path, message in ERRORS.items():
            status, body = await ask(session, app.client_url, path=path)
            assert status == 502
            assert f"127.0.0.1:{port}" in message(body)
        assert "keepwarm_upstream_up 0.0" in (await get(session, f"{app.admin_url}/metrics"))[1]

        await simulated.start(port=port)
        try:
            await until(lambda: _is_ready(session, app), 5)
            for path in ERRORS:
                assert (await ask(session, app.client_url, path=path))[0] == 200
            (resident,) = (await state(session, app.admin_url))["residents"]
            assert resident["keep_alive"] >= 300
            assert simulated.tally.loads[MODEL] == 1
            assert "keepwarm_upstream_up 1.0" in (await get(session, f"{app.admin_url}/metrics"))[1]
        finally:
            await simulated.stop()


async def test_an_ollama_that_restarts_is_taken_as_it_comes_back(
    tmp_path: Path, session: aiohttp.ClientSession, ollama: SimulatedOllama
) -> None:
    port = int(ollama.url.rsplit(":", 1)[1])
    async with proxy(tmp_path, ollama.url) as app:
        assert (await ask(session, app.client_url))[0] == 200
        await ollama.stop()
        assert (await ask(session, app.client_url))[0] == 502
        await until(lambda: _is_ready(session, app, status=503), 5)
        await ollama.start(port=port)  # with nothing loaded
        await until(lambda: _is_ready(session, app), 5)
        assert (await state(session, app.admin_url))["residents"] == []
        assert (await ask(session, app.client_url))[0] == 200
        assert ollama.tally.loads[MODEL] == 2
        shown = await state(session, app.admin_url)
        assert (shown["waiting"], shown["in_flight"], shown["operation"]) == (0, 0, None)


async def test_ollama_is_not_asked_for_what_is_resident_more_often_than_needed(
    tmp_path: Path, session: aiohttp.ClientSession, ollama: SimulatedOllama
) -> None:
    async with proxy(tmp_path, ollama.url) as app:
        await ask(session, app.client_url)
        before = sum(request.path == "/api/ps" for request in ollama.requests)
        for _ in range(20):
            assert (await ask(session, app.client_url))[0] == 200
        asked = sum(request.path == "/api/ps" for request in ollama.requests) - before
        shows = sum(request.path == "/api/show" for request in ollama.requests)
    assert asked <= 20  # the poll of every 100 ms, nothing for each request
    assert shows == 1


async def _is_ready(session: aiohttp.ClientSession, app: App, status: int = 200) -> bool:
    return (await get(session, f"{app.admin_url}/readyz"))[0] == status
