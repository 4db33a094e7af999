"""Connecting: name, address, TLS, time; whatever fails is said plainly."""

from __future__ import annotations

import socket
import ssl
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from proxy.upstream.wire import UpstreamPool
from proxy.upstream.wire_answer import NoAnswerError
from tests.unit.upstream.scripted_server import Server, asked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def unused_port() -> int:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
async def test_nobody_there_is_said_plainly(unused_port: int, host: str) -> None:
    with pytest.raises(NoAnswerError, match=r"^Connection refused$|^Cannot assign requested address$"):
        await asked(UpstreamPool(f"http://{host}:{unused_port}", 5))


@pytest.mark.parametrize("host", ["nobody.invalid", "x" * 70])
async def test_a_name_that_leads_nowhere_is_no_answer(host: str) -> None:
    with pytest.raises(NoAnswerError, match=r"^[^\[]"):
        await asked(UpstreamPool(f"http://{host}:1", 5))


@pytest.fixture
def black_hole() -> Iterator[str]:
    """Where connecting neither succeeds nor fails: a full queue of connections that nobody accepts."""
    with closing(socket.socket()) as listener, closing(socket.socket()) as first, closing(socket.socket()) as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for filler in (first, second):
            filler.setblocking(False)  # noqa: FBT003 - as the standard library has it
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


async def test_who_does_not_accept_in_time_is_no_answer(black_hole: str) -> None:
    with pytest.raises(NoAnswerError, match=r"^timed out after 0\.05 s$"):
        await asked(UpstreamPool(black_hole, 0.05))


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate for localhost that it signed itself."""
    path = tmp_path / "localhost.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run(
        [*command.split(), "-keyout", path, "-out", tmp_path / "certificate"], check=True, capture_output=True
    )
    path.write_bytes(path.read_bytes() + (tmp_path / "certificate").read_bytes())
    return path


@pytest.mark.parametrize("is_trusted", [True, False])
async def test_tls_is_spoken_with_whom_the_system_trusts(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, *, is_trusted: bool
) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    server = Server()
    await server.start(tls=tls)
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    pool = UpstreamPool(f"https://localhost:{server.port}", 5)
    if is_trusted:
        assert [await asked(pool, "POST", body=b"x") for _ in range(2)] == [b"ok", b"ok"]
        assert [number for number, _ in server.heard] == [1, 1]
    else:
        with pytest.raises(NoAnswerError, match="certificate verify failed"):
            await asked(pool)
    pool.close()
    await server.stop()
