"""HTTPS, and the admin port's token as the command line sends it."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import TYPE_CHECKING

import aiohttp
import pytest
from click.testing import CliRunner

from proxy.cli import main
from proxy.settings import SettingsFile
from proxy.sim.server import SimulatedOllama
from proxy.sim.site import SimulatedOllamaOptions
from tests.integration.raw_http import until
from tests.unit.server.certificates import make_certificate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.integration.conftest import StartProxy

TOKEN = "kw_token-of-the-admin-port"
GUARD = {"listen": "0.0.0.0:0", "token_sha256": sha256(TOKEN.encode()).hexdigest()}


@pytest.fixture
async def ollama() -> AsyncIterator[SimulatedOllama]:
    simulated = SimulatedOllama(SimulatedOllamaOptions(speed=50.0))
    await simulated.start()
    yield simulated
    await simulated.stop()


@asynccontextmanager
async def trusting(certificate: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """A client with no connection yet that trusts this certificate and no other."""
    context = ssl.create_default_context(cafile=str(certificate))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        yield session


async def test_the_certificate_is_the_one_in_the_files_and_soon_the_next_one_without_a_restart(
    ollama: SimulatedOllama, start_proxy: StartProxy, tmp_path: Path
) -> None:
    made = {name: await asyncio.to_thread(make_certificate, tmp_path, name) for name in ("first", "second")}
    files = [tmp_path / "fullchain.pem", tmp_path / "privkey.pem"]

    def put(name: str) -> None:
        for source, target in zip(made[name], files, strict=True):
            shutil.copy(source, target)

    put("first")
    tls = {"certificate": str(files[0]), "key": str(files[1])}
    proxy = await start_proxy(ollama.url, server={"tls": tls})
    assert proxy.client_url.startswith("https://127.0.0.1:")

    async def answers(trusted: str) -> bool:
        async with trusting(made[trusted][0]) as session:
            try:
                async with session.get(f"{proxy.client_url}/api/version") as answer:
                    return "version" in await answer.json()
            except aiohttp.ClientConnectorCertificateError:
                return False

    async with trusting(made["first"][0]) as kept:
        chat = {"model": "gemma3:4b", "messages": [{"role": "user", "content": "hi"}]}
        async with kept.post(f"{proxy.client_url}/api/chat", json=chat) as answer:
            assert json.loads((await answer.read()).splitlines()[-1])["done"] is True
        assert await answers("first")
        assert not await answers("second")
        await asyncio.to_thread(put, "second")
        await until(lambda: answers("second"), 10)
        assert not await answers("first")
        async with kept.get(f"{proxy.client_url}/api/version") as answer:
            assert answer.status == 200  # on the connection that was there before
    with pytest.raises(aiohttp.ClientError):
        async with aiohttp.ClientSession() as session, session.get(proxy.client_url.replace("https:", "http:")):
            pass


async def test_the_token_opens_the_admin_port_and_the_commands_send_it(
    ollama: SimulatedOllama, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(ollama.url, admin=GUARD)
    url = proxy.admin_url.replace("0.0.0.0", "127.0.0.1")
    async with aiohttp.ClientSession() as session:
        for path, token, status in (
            ("/healthz", None, 200),
            ("/metrics", None, 401),
            ("/metrics", "wrong", 401),
            ("/metrics", TOKEN, 200),
        ):
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            async with session.get(url + path, headers=headers) as answer:
                assert answer.status == status

    async def command(*arguments: str, **env: str) -> tuple[int, str]:
        done = await asyncio.to_thread(CliRunner(env=env).invoke, main, [*arguments, "--admin", url])
        return done.exit_code, done.output

    assert (await command("status", "--token", TOKEN))[0] == 0
    assert (await command("status", KEEPWARM_ADMIN_TOKEN=TOKEN))[0] == 0
    status, out = await command("explain", "gemma3:4b", "--token", TOKEN)
    assert (status, "nothing is known of gemma3:4b" in out) == (1, True)
    for env in ({}, {"KEEPWARM_ADMIN_TOKEN": "wrong"}):
        status, out = await command("status", **env)
        assert (status, "asks for a token" in out, "wrong" in out) == (1, True, False)


async def test_a_file_that_closes_the_admin_port_and_drops_the_token_leaves_no_gap(
    ollama: SimulatedOllama, start_proxy: StartProxy, tmp_path: Path
) -> None:
    """admin.listen takes effect after a restart only, so until then nobody may get in without a token."""
    proxy = await start_proxy(ollama.url, admin=GUARD)
    url = proxy.admin_url.replace("0.0.0.0", "127.0.0.1")
    path = tmp_path / "keepwarm.yaml"
    path.write_text(path.read_text().replace("0.0.0.0:0", "127.0.0.1:0").replace(str(GUARD["token_sha256"]), "none"))
    assert SettingsFile(path, {}).current.admin.token_sha256 is None
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/reload", headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
            assert answer.status == 200
        async with session.get(f"{url}/state") as answer:
            assert answer.status == 401


def test_check_warns_of_what_is_open_and_still_finds_the_file_good(tmp_path: Path) -> None:
    path = tmp_path / "keepwarm.yaml"
    path.write_text("server:\n  listen: ':11435'\n")
    done = CliRunner().invoke(main, ["check", str(path)])
    assert done.exit_code == 0
    assert done.stdout == f"{path}: good\n"
    assert done.stderr.startswith("warning: server.listen :11435: whoever reaches this port may use, pull and delete")


def test_serve_with_a_certificate_that_is_not_there_ends_with_a_message(tmp_path: Path) -> None:
    path = tmp_path / "keepwarm.yaml"
    gone = {"certificate": str(tmp_path / "gone.pem"), "key": str(tmp_path / "gone.key")}
    own = {"server": {"listen": "127.0.0.1:0", "tls": gone}, "admin": {"listen": "127.0.0.1:0"}}
    path.write_text(json.dumps({**own, "store": {"path": str(tmp_path / "usage.sqlite")}}))
    done = CliRunner().invoke(main, ["serve", "--config", str(path)])
    assert done.exit_code == 1
    assert "Error: server.tls: certificate " in done.output
    assert "No such file or directory" in done.output
