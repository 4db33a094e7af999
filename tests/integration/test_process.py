"""`keepwarm serve` as its own process: how much memory it takes, and how it ends."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
import socket
import sqlite3
import sys
import time
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.integration.conftest import settings_file
from tests.integration.raw_http import CHUNKED_ANSWER, Wire, answer, chunk, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.raw_upstream import Exchange, RawUpstream

MIB, GB = 2**20, 10**9
BODY = b'{"model":"warm","prompt":"hi"}'
FLAT_BYTES = 48 * MIB


@dataclass
class Served:
    """A running `keepwarm serve`."""

    url: str
    process: asyncio.subprocess.Process

    def peak_bytes(self) -> int:
        """Return the most memory that it ever held."""
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found
        return int(found[1]) * 1024


@asynccontextmanager
async def serving(folder: Path, upstream_url: str) -> AsyncIterator[Served]:
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(settings_file(folder, upstream_url))]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE, env=dict(os.environ))
    assert process.stderr
    try:
        async with asyncio.timeout(20):
            while not (found := re.search(rb"keepwarm \S+: (http://\S+) -> ", line := await process.stderr.readline())):
                assert line, "it ended before it served"
        drain = asyncio.create_task(process.stderr.read())
        yield Served(found[1].decode(), process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await drain


def connected(url: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)))


async def read_bytes(exchange: Exchange, count: int) -> None:
    while count:
        count -= len(await exchange.wire.reader.read(min(count, MIB)))


async def test_an_upload_of_5_gigabytes_takes_no_memory(upstream: RawUpstream, tmp_path: Path) -> None:
    size = 5 * GB
    async with serving(tmp_path, upstream.url) as served:
        with closing(connected(served.url)) as client:

            def upload() -> bytes:
                client.sendall(
                    request("/api/blobs/sha256:1").replace(b"Content-Length: 0", b"Content-Length: %d" % size)
                )
                piece = memoryview(bytes(MIB))
                for at in range(0, size, MIB):
                    client.sendall(piece[: size - at])
                return client.recv(1000)

            before = served.peak_bytes()
            uploading = asyncio.create_task(asyncio.to_thread(upload))
            exchange = await upstream.next()
            assert exchange.head.length == size
            async with asyncio.timeout(40):
                await read_bytes(exchange, size)
            await exchange.reply(answer(b"", status="201 Created"))
            assert (await uploading).startswith(b"HTTP/1.1 201 Created\r\n")
        assert served.peak_bytes() - before < FLAT_BYTES


async def test_an_endless_answer_to_a_slow_client_takes_no_memory(upstream: RawUpstream, tmp_path: Path) -> None:
    async with serving(tmp_path, upstream.url) as served:
        before = served.peak_bytes()
        with closing(connected(served.url)) as client:
            client.sendall(request("/api/generate", BODY))
            exchange = await upstream.next()
            await exchange.body()
            await exchange.wire.send(CHUNKED_ANSWER)
            written, stuck, piece = 0, False, chunk(b"x" * 1000) * 200

            def read_slowly() -> None:
                for _ in range(10):
                    client.recv(MIB)
                    time.sleep(0.1)

            reading = asyncio.create_task(asyncio.to_thread(read_slowly))
            # not for a time: a busy machine may take longer until everything on the way is full
            while not (stuck and reading.done()) and written < 200 * MIB:
                exchange.wire.writer.write(piece)
                try:
                    async with asyncio.timeout(0.2):
                        await exchange.wire.writer.drain()
                except TimeoutError:
                    stuck = True
                written += len(piece)
            await reading
        assert stuck, f"took {written >> 20} MiB of which a client read at most 10"
        assert served.peak_bytes() - before < FLAT_BYTES
        async with asyncio.timeout(1):
            await exchange.wire.closed()
        exchange.done.set()


async def test_sigterm_lets_an_answer_in_flight_finish_saves_the_statistics_and_exits_with_0(
    upstream: RawUpstream, tmp_path: Path
) -> None:
    async with serving(tmp_path, upstream.url) as served:
        client = await Wire.connect(served.url)
        await client.send(request("/api/generate", BODY))
        exchange = await upstream.next()
        await exchange.body()
        await exchange.wire.send(CHUNKED_ANSWER + chunk(b"a"))
        await client.head()
        served.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        await exchange.wire.send(chunk(b"b"))
        await exchange.reply(chunk(b'{"done":true,"eval_count":7}') + chunk(b""))
        assert [content async for content in client.chunks()] == [b"a", b"b", b'{"done":true,"eval_count":7}']
        async with asyncio.timeout(3):
            assert await served.process.wait() == 0
        client.close()
    with closing(sqlite3.connect(tmp_path / "usage.sqlite")) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        content = "\n".join(repr(row) for name in tables for row in database.execute(f'SELECT * FROM "{name}"'))  # noqa: S608 - our own tables
    assert "warm:latest" in content
    assert "/api/generate" in content


async def test_it_takes_as_many_descriptors_as_it_may_have(upstream: RawUpstream, tmp_path: Path) -> None:
    """A thousand clients take two thousand; a shell gives 1024."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(before[1], 4096)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, before[1]))
    try:
        async with serving(tmp_path, upstream.url) as served:
            assert resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE)[0] >= most
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
