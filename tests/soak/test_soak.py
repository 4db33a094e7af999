"""Many connections and models, random faults, clients that leave, settings that change: nothing lost, nothing grows."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import signal
import statistics
import sys
import time
from collections import Counter
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.faults.clients import get
from tests.integration.conftest import settings_file
from tests.integration.raw_http import until
from tests.soak.connection import Connection, Ended
from tests.soak.plan import CONNECTIONS, SETTINGS_EVERY_SECONDS, Trouble, actions, settings, troubles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LONGEST_LAG_SECONDS = 0.05
MOST_GROWTH_BYTES = 7 * 2**20
"""From the second third to the last: what is bounded has filled up after four minutes, some 4 MiB come before that."""
MEMORY = {"budget": "80GiB", "max_models": 12, "settle": "20ms"}
EXPLAINS = {
    "break_stream_after_chunks": {"cut"},
    "failing_loads": {"500"},
    "restart": {"cut", "502"},
    "hang, then restart": {"cut", "502"},
}
"""How a request may end beside whole, by what Ollama suffers meanwhile; of the other troubles no client may notice."""
AFTERMATH_SECONDS = 1.5
pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]


@asynccontextmanager
async def process(log: Path, *arguments: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Python module in a process of its own, ended at the end of the block."""
    command = [sys.executable, "-m", *map(str, arguments)]
    pipe = asyncio.subprocess.PIPE
    with log.open("wb") as stderr:
        running = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=stderr)
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


async def line_of(running: asyncio.subprocess.Process) -> str:
    assert running.stdout
    async with asyncio.timeout(20):
        return (await running.stdout.readline()).decode().strip()


def memory_bytes(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def descriptors(pid: int) -> list[str]:
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.append(str(link.readlink()))
    return sorted(found)


async def change_settings(path: Path, seed: int, until_at: float) -> None:
    good = path.read_text()  # noqa: ASYNC240 - a small file, and nobody is being measured on this loop
    for change in settings(seed):
        await asyncio.sleep(SETTINGS_EVERY_SECONDS)
        if time.monotonic() > until_at:
            break
        put(path, change if isinstance(change, str) else yaml.safe_dump(_merged(yaml.safe_load(good), change)))
    put(path, good)


def put(path: Path, text: str) -> None:
    """As editors do it."""
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)


def _merged(base: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return base | {key: base.get(key, {}) | value if isinstance(value, dict) else value for key, value in other.items()}


async def sample_memory(pid: int, samples: list[int]) -> None:
    while True:
        samples.append(memory_bytes(pid))
        await asyncio.sleep(0.5)


def unexplained(ended: list[Ended], seed: int, begun_at: float) -> list[Ended]:
    """Requests that were neither answered whole nor left by their client, and that no trouble of Ollama explains."""
    suffered = list(itertools.takewhile(lambda trouble: begun_at + trouble.at < time.monotonic(), troubles(seed)))

    def explained(request: Ended, trouble: Trouble) -> bool:
        start = begun_at + trouble.at
        overlap = request.began_at < start + trouble.longest_seconds + AFTERMATH_SECONDS and request.ended_at > start
        return overlap and request.outcome in EXPLAINS.get(trouble.fault, ())

    return [
        request
        for request in ended
        if request.outcome not in ("whole", "left") and not any(explained(request, each) for each in suffered)
    ]


async def test_nothing_is_lost_and_nothing_grows(tmp_path: Path, seed: int, seconds: float) -> None:
    log = tmp_path / "keepwarm.log"
    async with process(tmp_path / "ollama.log", "tests.soak.ollama", seed) as ollama:
        path = settings_file(tmp_path, await line_of(ollama), memory=MEMORY)
        async with process(log, "tests.soak.keepwarm", path) as keepwarm:
            client_url, admin_url = json.loads(await line_of(keepwarm))
            await get(f"{admin_url}/state")
            had = descriptors(keepwarm.pid)
            begun_at, memory = time.monotonic(), list[int]()
            assert ollama.stdin
            ollama.stdin.write(b"%r\n" % begun_at)
            connections = [Connection(client_url, actions(seed, number)) for number in range(CONNECTIONS)]
            async with asyncio.TaskGroup() as group:
                sampling = asyncio.create_task(sample_memory(keepwarm.pid, memory))
                group.create_task(change_settings(path, seed, begun_at + seconds))
                for connection in connections:
                    group.create_task(connection.run(begun_at + seconds))
            sampling.cancel()
            ended = [each for connection in connections for each in connection.ended]
            print(f"seed {seed}: {len(ended)} requests: {Counter(each.outcome for each in ended).most_common()}")  # noqa: T201 - what was measured belongs into the log of CI

            await until(lambda: is_at_rest(admin_url), 30)
            ollama.stdin.close()
            await ollama.wait()  # idle connections to it end with it
            await gives_back(keepwarm.pid, had)
            keepwarm.send_signal(signal.SIGTERM)
            lag = json.loads(await line_of(keepwarm))
            print(f"lag: {lag}")  # noqa: T201 - the figures of the run
            assert await keepwarm.wait() == 0
    assert b"Traceback" not in log.read_bytes(), log
    assert not unexplained(ended, seed, begun_at)
    assert lag["own"]["p99"] < LONGEST_LAG_SECONDS
    third = len(memory) // 3
    before, after = statistics.median(memory[third : 2 * third]), statistics.median(memory[2 * third :])
    print(f"RSS: {before / 2**20:.1f} MiB in the second third, {after / 2**20:.1f} in the last")  # noqa: T201 - what was measured belongs into the log of CI
    assert after - before < MOST_GROWTH_BYTES
    for number, connection in enumerate(connections):
        done = [each.action for each in connection.ended]
        assert done == list(itertools.islice(actions(seed, number), len(done))), "the same seed does the same"


async def is_at_rest(admin_url: str) -> bool:
    state = json.loads(await get(f"{admin_url}/state"))
    return not (state["waiting"] or state["in_flight"] or state["operation"])


async def gives_back(pid: int, had: list[str]) -> None:
    deadline = time.monotonic() + 10
    while len(now := descriptors(pid)) > len(had):
        assert time.monotonic() < deadline, f"\nhad {had}\nhas {now}"
        await asyncio.sleep(0.1)


def test_a_seed_stands_for_one_course_of_events() -> None:
    def course(seed: int) -> list[object]:
        plans = [actions(seed, 0), actions(seed, 999), troubles(seed), settings(seed)]
        return [list(itertools.islice(plan, 50)) for plan in plans]

    assert course(1) == course(1)
    assert course(1) != course(2)
