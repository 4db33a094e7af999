"""Keys, what they open and what they don't, on real sockets: nothing that is refused reaches Ollama."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from proxy.domain.model import Endpoint, canonical
from proxy.sim.server import SimulatedOllama
from proxy.sim.site import SimulatedOllamaOptions
from tests.integration.raw_http import answer, request, until
from tests.integration.test_unreachable import message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.integration.conftest import Proxy, StartProxy
    from tests.integration.raw_upstream import RawUpstream

ALICE, BOB, CAROL = "kw_alice-secret", "kw_bob-secret", "kw_carol-secret"
SECRETS = ("alice-secret", "bob-secret", "carol-secret", "wrong-secret")
KEYS = {name: sha256(f"kw_{name}-secret".encode()).hexdigest() for name in ("alice", "bob", "carol")}
ACCESS: dict[str, Any] = {
    "keys": KEYS,
    "allow": {
        "keyless": {"endpoints": []},
        "bob": {"models": ["gemma3:4b", "llama3.2"]},
        "carol": {"endpoints": ["use", "manage", "unload"]},
    },
}
WARM = b'{"model":"warm","messages":[{"role":"user","content":"my prompt"}]}'


def bearer(key: str) -> str:
    return f"Authorization: Bearer {key}"


# Keys


@pytest.fixture
async def guarded(upstream: RawUpstream, start_proxy: StartProxy) -> Proxy:
    return await start_proxy(upstream.url, access=ACCESS, limits={"json_body": "1000B"})


@pytest.mark.parametrize("header", [bearer(ALICE), f"x-api-key: {ALICE}"])
@pytest.mark.parametrize("path", ["/api/chat", "/v1/messages", "/api/show"])
async def test_a_key_opens_and_stays_here(guarded: Proxy, upstream: RawUpstream, header: str, path: str) -> None:
    client = await guarded.client()
    await client.send(request(path, WARM, header, "Anthropic-Version: 2023-06-01"))
    exchange = await upstream.next()
    assert exchange.head.names().isdisjoint({"authorization", "x-api-key"})
    assert exchange.head.all("anthropic-version") == ["2023-06-01"]
    await exchange.body()
    await exchange.reply(answer(b"ok"))
    assert (await client.answer())[1] == b"ok"


async def test_a_key_goes_on_if_the_settings_say_so(upstream: RawUpstream, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(upstream.url, access={**ACCESS, "forward_key": True})
    client = await proxy.client()
    await client.send(request("/api/chat", WARM, bearer(ALICE)))
    assert (await upstream.next()).head.all("authorization") == [f"Bearer {ALICE}"]


async def test_without_keys_the_header_of_whoever_asks_goes_on(upstream: RawUpstream, start_proxy: StartProxy) -> None:
    client = await (await start_proxy(upstream.url)).client()
    await client.send(request("/api/chat", WARM, "Authorization: Basic eDp5", "X-Api-Key: theirs"))
    head = (await upstream.next()).head
    assert (head.all("authorization"), head.all("x-api-key")) == (["Basic eDp5"], ["theirs"])


@pytest.mark.parametrize("headers", [[], [bearer("wrong-secret")], ["x-api-key: wrong-secret"]])
@pytest.mark.parametrize("path", ["/api/tags", "/v1/models", "/nowhere", *Endpoint])
async def test_no_key_or_a_wrong_one_is_a_401_in_the_shape_of_the_api(
    guarded: Proxy, upstream: RawUpstream, path: str, headers: list[str]
) -> None:
    client = await guarded.client()
    await client.send(request(path, WARM, *headers))
    head, content = await client.answer()
    assert head.status == 401
    assert "key" in message(path, content)
    assert head.all("www-authenticate") == ['Bearer realm="keepwarm"']
    assert b"wrong-secret" not in content
    assert upstream.nothing_arrived()


async def test_a_body_is_not_asked_for_before_the_key_is_seen(guarded: Proxy, upstream: RawUpstream) -> None:
    client = await guarded.client()
    await client.send(request("/api/chat", WARM, "Expect: 100-continue").removesuffix(WARM))
    assert (await client.head()).status == 401
    assert upstream.nothing_arrived()


async def test_bytes_that_are_no_text_are_a_wrong_key_and_nothing_worse(guarded: Proxy) -> None:
    client = await guarded.client()
    await client.send(b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \xff\xfe\r\n\r\n")
    assert (await client.answer())[0].status == 401


async def test_keys_that_are_added_or_taken_away_count_at_once(
    upstream: RawUpstream, start_proxy: StartProxy, tmp_path: Path
) -> None:
    proxy = await start_proxy(upstream.url, access=ACCESS)
    path = tmp_path / "keepwarm.yaml"
    path.write_text(path.read_text().replace(KEYS["alice"], sha256(b"kw_new").hexdigest()))
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{proxy.admin_url}/reload") as reloaded:
            assert (await reloaded.json())["reloaded"]
        for key, status in ((ALICE, 401), ("kw_new", 404)):
            asked = session.get(f"{proxy.client_url}/v1/models", headers={"Authorization": f"Bearer {key}"})
            async with asked as answered:
                assert answered.status == status  # 404: this upstream knows no such path


# What a key opens


@pytest.fixture
async def ollama() -> AsyncIterator[SimulatedOllama]:
    simulated = SimulatedOllama(SimulatedOllamaOptions(speed=50.0))
    await simulated.start()
    yield simulated
    await simulated.stop()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as opened:
        yield opened


class As:
    """Asks with one key."""

    def __init__(self, session: aiohttp.ClientSession, proxy: Proxy, key: str) -> None:
        self._session, self._url, self._headers = session, proxy.client_url, {"Authorization": f"Bearer {key}"}

    async def asks(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Return the status and what the JSON of the answer says."""
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        asked = self._session.request(method, self._url + path, data=content, headers=self._headers)
        async with asked as answered:
            return answered.status, await answered.json(content_type=None)

    async def chats(self, model: str, **more: Any) -> tuple[int, Any]:
        """Ask a model for something short."""
        messages = [{"role": "user", "content": "my prompt"}]
        return await self.asks("POST", "/api/chat", {"model": model, "messages": messages, "stream": False, **more})


async def test_a_model_that_does_not_exist_for_a_client_is_in_no_list(
    ollama: SimulatedOllama, start_proxy: StartProxy, session: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy(ollama.url, access=ACCESS)
    alice, bob = As(session, proxy, ALICE), As(session, proxy, BOB)
    assert (await alice.chats("qwen3:8b"))[0] == (await bob.chats("gemma3:4b"))[0] == 200
    for path, key, name in (
        ("/api/tags", "models", "name"),
        ("/v1/models", "data", "id"),
        ("/api/ps", "models", "name"),
    ):
        _, all_of_it = await alice.asks("GET", path)
        status, rest = await bob.asks("GET", path)
        assert status == 200
        names = {line[name] for line in rest[key]}
        assert names == {line[name] for line in all_of_it[key]} & {"gemma3:4b", "llama3.2:1b", "llama3.2:3b"}
        assert "qwen3:8b" in {line[name] for line in all_of_it[key]}
        assert {**rest, key: None} == {**all_of_it, key: None}


async def test_a_model_that_does_not_exist_for_a_client_is_unknown_like_one_that_ollama_does_not_know(
    ollama: SimulatedOllama, start_proxy: StartProxy, session: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy(ollama.url, access=ACCESS)
    alice, bob = As(session, proxy, ALICE), As(session, proxy, BOB)
    for method, path, body in (("POST", "/api/show", {"model": "NAME"}), ("POST", "/api/show", {"name": "NAME"})):
        theirs = await alice.asks(method, path, dict.fromkeys(body, "no-such:8b"))
        assert theirs[0] == 404
        assert await bob.asks(method, path, dict.fromkeys(body, "no-such:8b")) == theirs
        assert await bob.asks(method, path, dict.fromkeys(body, "qwen3:8b")) == (
            404,
            json.loads(json.dumps(theirs[1]).replace("no-such", "qwen3")),
        )
    status, error = await bob.asks("GET", "/v1/models/qwen3:8b")
    assert (status, error["error"]["type"]) == (404, "not_found_error")
    assert (await bob.asks("POST", "/api/show", {"model": "gemma3:4b"}))[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        {"model": "qwen3:8b"},
        {"model": "gemma3:4b", "MODEL": "qwen3:8b"},
        {"model": " QWEN3:8b "},
        {"model": "registry.ollama.ai/library/qwen3:8b"},
    ],
)
@pytest.mark.parametrize("path", list(Endpoint))
async def test_a_model_that_is_not_for_a_client_is_not_run_by_any_spelling(
    guarded: Proxy, upstream: RawUpstream, session: aiohttp.ClientSession, path: str, body: dict[str, Any]
) -> None:
    status, error = await As(session, guarded, BOB).asks("POST", path, {**body, "messages": [{}], "prompt": "x"})
    assert status == 403
    assert "may not use this model" in message(path, json.dumps(error).encode())
    assert upstream.nothing_arrived()
    assert "qwen" not in str(upstream.managed)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model":1}', b'{"prompt":"x"}'])
@pytest.mark.parametrize("path", ["/api/chat", "/api/show", "/v1/messages"])
async def test_a_body_whose_model_cant_be_told_is_not_passed_on_for_a_limited_client(
    guarded: Proxy, upstream: RawUpstream, session: aiohttp.ClientSession, path: str, body: bytes
) -> None:
    assert (await As(session, guarded, BOB).asks("POST", path, body))[0] == 400
    assert upstream.nothing_arrived()


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/pull"), ("DELETE", "/api/delete"), ("POST", "/api/me"), ("POST", "/api/blobs/sha256:1")],
)
async def test_a_key_for_use_manages_nothing(
    guarded: Proxy, upstream: RawUpstream, session: aiohttp.ClientSession, method: str, path: str
) -> None:
    status, error = await As(session, guarded, ALICE).asks(method, path, {"model": "warm"})
    assert (status, error) == (403, {"error": "the key of 'alice' may not manage models (access.allow)"})
    assert upstream.nothing_arrived()


async def test_audio_is_refused_to_whom_not_every_model_exists_for_its_model_cant_be_seen(
    guarded: Proxy, session: aiohttp.ClientSession
) -> None:
    assert (await As(session, guarded, BOB).asks("POST", "/v1/audio/transcriptions", b"--x"))[0] == 403


async def test_an_unload_is_for_those_who_may(
    ollama: SimulatedOllama, start_proxy: StartProxy, session: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy(ollama.url, access=ACCESS)
    alice, carol = As(session, proxy, ALICE), As(session, proxy, CAROL)
    assert (await alice.chats("gemma3:4b"))[0] == 200
    unload = {"model": "gemma3:4b", "keep_alive": 0}
    for path in ("/api/generate", "/api/chat"):
        status, error = await alice.asks("POST", path, unload)
        assert (status, error) == (403, {"error": "the key of 'alice' may not unload models (access.allow)"})
    assert (await alice.asks("GET", "/api/ps"))[1]["models"]
    assert (await carol.asks("POST", "/api/generate", unload))[0] == 200
    assert not (await alice.asks("GET", "/api/ps"))[1]["models"]


async def test_a_client_that_manages_some_models_names_no_others(
    upstream: RawUpstream, start_proxy: StartProxy, session: aiohttp.ClientSession
) -> None:
    access = {**ACCESS, "allow": {"bob": {"endpoints": ["manage"], "models": ["bob/*"]}}}
    proxy = await start_proxy(upstream.url, access=access)
    bob = As(session, proxy, BOB)
    for method, path, body in (
        ("DELETE", "/api/delete", {"name": "warm"}),
        ("POST", "/api/copy", {"source": "warm", "destination": "bob/warm"}),
        ("POST", "/api/create", {"model": "bob/mine", "from": "warm"}),
        ("POST", "/api/of-the-future", {"model": "bob/mine"}),
    ):
        assert (await bob.asks(method, path, body))[0] == 403
    assert upstream.nothing_arrived()
    client = await proxy.client()
    content = b'{"source":"bob/a","destination":"bob/b"}'
    await client.send(request("/api/copy", content, bearer(BOB)))
    exchange = await upstream.next()
    assert await exchange.body() == content


async def test_a_list_that_is_none_is_a_502_and_not_passed_on(guarded: Proxy, upstream: RawUpstream) -> None:
    client = await guarded.client()
    for content in (b'{"models":"secret-model"}', b"secret-model"):
        await client.send(request("/api/tags", b"", bearer(BOB), "Accept-Encoding: gzip", method="GET"))
        exchange = await upstream.next()
        assert not exchange.head.all("accept-encoding")
        await exchange.reply(answer(content))
        head, body = await client.answer()
        assert head.status == 502
        assert b"secret-model" not in body
        client = await guarded.client()


# What is remembered of a client


async def test_metrics_and_history_tell_the_clients_name_and_nothing_tells_keys_prompts_or_answers(
    ollama: SimulatedOllama,
    start_proxy: StartProxy,
    session: aiohttp.ClientSession,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    proxy = await start_proxy(ollama.url, access=ACCESS, log={"level": "debug"})
    status, answered = await As(session, proxy, ALICE).chats("gemma3:4b")
    assert status == 200
    assert (await As(session, proxy, "wrong-secret").chats("gemma3:4b"))[0] == 401
    assert (await As(session, proxy, BOB).chats("qwen3:8b"))[0] == 403
    told = ""
    for path in ("/metrics", "/state", "/models/gemma3:4b/explain"):
        async with session.get(proxy.admin_url + path) as shown:
            told += await shown.text()
    labels = 'client="alice",endpoint="/api/chat",model="gemma3:4b",outcome="cold"'
    assert f"keepwarm_requests_total{{{labels}}} 1.0" in told
    assert 'keepwarm_tokens_total{client="alice",direction="out",model="gemma3:4b"}' in told
    assert 'keepwarm_refused_requests_total{status="401"} 1.0' in told
    assert 'keepwarm_refused_requests_total{status="403"} 1.0' in told

    database = tmp_path / "usage.sqlite"

    async def written() -> bool:
        with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT client, status FROM requests").fetchall() == [("alice", 200)]

    await until(written, 5)
    kept = _content(tmp_path)
    logged = "".join(capfd.readouterr())
    assert "gemma3:4b" in logged
    for text in (told, kept, logged):
        assert not [secret for secret in (*SECRETS, "my prompt", answered["message"]["content"]) if secret in text]


def _content(folder: Path) -> str:
    return b"".join(file.read_bytes() for file in folder.glob("usage.sqlite*")).decode("latin-1")


FORGED = "evil\r\n2026-01-01T00:00:00.000Z ERROR   proxy.app: \x1b[31mforged\x1b[0m\u2028\u202eforged"


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_no_name_of_a_model_begins_a_line_of_the_log_or_colours_it(
    upstream: RawUpstream, start_proxy: StartProxy, capfd: pytest.CaptureFixture[str], log_format: str
) -> None:
    upstream.known.add(canonical(FORGED))
    proxy = await start_proxy(upstream.url, log={"level": "debug", "format": log_format})
    client = await proxy.client()
    await client.send(request("/api/chat", json.dumps({"model": FORGED, "messages": [{}]}).encode()))
    exchange = await upstream.next()
    await exchange.body()
    await exchange.reply(answer(b"ok"))
    await client.answer()
    logged = "".join(capfd.readouterr())
    assert logged.count(r"evil\r\n2026") >= 3  # it was loaded, is resident, was forwarded
    assert all(line.isprintable() for line in logged.split("\n"))
    assert not [line for line in logged.splitlines() if line.startswith("2026-01-01")]


@pytest.mark.parametrize(
    "head",
    [
        b"GET /api/tags\x1b[31m HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong-secret\r\n\r\n",
        b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong-secret\x00\r\n\r\n",
        b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: wrong-secret\r\nX: \x1b[31mforged\r\n\r\n",
        b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: wrong-secret\rforged\r\n\r\n",
        b"wrong-secret / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /api/chat?key=wrong-secret HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{'prompt'",
    ],
)
async def test_nothing_of_a_request_that_is_refused_or_malformed_is_logged(
    guarded: Proxy, capfd: pytest.CaptureFixture[str], head: bytes
) -> None:
    client = await guarded.client()
    await client.send(head)
    assert (await client.head()).status in {400, 401}
    logged = "".join(capfd.readouterr())
    assert "secret" not in logged
    assert "forged" not in logged
    assert all(line.isprintable() for line in logged.split("\n"))


# Limits


async def test_a_connection_too_many_hears_503_and_is_closed(upstream: RawUpstream, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(upstream.url, limits={"connections": 2})
    first, _ = await proxy.client(), await proxy.client()
    await first.send(request("/api/version", method="GET"))
    await (await upstream.next()).reply(answer(b"ok"))
    assert (await first.answer())[1] == b"ok"
    for path in ("/api/chat", "/v1/chat/completions", "/v1/messages"):
        third = await proxy.client()
        await third.send(request(path, WARM))
        head, content = await third.answer()
        assert (head.status, head.all("retry-after")) == (503, ["5"])
        assert "limits.connections" in message(path, content)
        assert await third.rest() == b""
    first.close()
    await first.closed()

    async def taken() -> bool:
        fourth = await proxy.client()
        await fourth.send(request("/api/version", method="GET"))
        try:
            await (await asyncio.wait_for(upstream.next(), 0.2)).reply(answer(b"ok"))
        except TimeoutError:
            return False
        return (await fourth.answer())[0].status == 200

    await until(taken, 5)


async def test_a_connection_too_many_that_says_nothing_is_closed_soon(
    upstream: RawUpstream, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(upstream.url, limits={"connections": 1})
    _, silent = await proxy.client(), await proxy.client()
    await silent.closed()  # within its patience


async def test_a_client_with_too_many_waiting_requests_hears_429_and_others_go_on(
    upstream: RawUpstream, start_proxy: StartProxy, capfd: pytest.CaptureFixture[str]
) -> None:
    upstream.load_may_end.clear()
    log = {"access": True, "format": "json", "level": "warning"}
    proxy = await start_proxy(upstream.url, access=ACCESS, limits={"waiting": 1}, log=log)
    cold = WARM.replace(b"warm", b"cold")
    waiting, refused, other = [await proxy.client() for _ in range(3)]
    await waiting.send(request("/v1/chat/completions", cold, bearer(ALICE)))

    async def loading() -> bool:
        return any(path == "/api/generate" for path, _ in upstream.managed)

    await until(loading, 5)
    await refused.send(request("/v1/chat/completions", cold, bearer(ALICE)))
    head, content = await refused.answer()
    assert (head.status, head.all("retry-after")) == (429, ["5"])
    assert json.loads(content)["error"]["code"] == "rate_limit_exceeded"
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if "proxy.access" in line]
    assert [(line["path"], line["ending"], line["status"]) for line in lines] == [
        ("/v1/chat/completions", "answered", 429)
    ]
    await other.send(request("/v1/chat/completions", WARM, bearer(CAROL)))
    exchange = await upstream.next()
    await exchange.body()
    await exchange.reply(answer(b"warm"))
    assert (await other.answer())[1] == b"warm"
    upstream.load_may_end.set()
    exchange = await upstream.next()
    await exchange.body()
    await exchange.reply(answer(b"at last"))
    assert (await waiting.answer())[1] == b"at last"


async def test_a_header_above_its_limit_is_refused(upstream: RawUpstream, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(upstream.url, limits={"header": "1000B"})
    client = await proxy.client()
    await client.send(request("/api/tags", b"", f"X-Long: {'x' * 1001}", method="GET"))
    assert (await client.head()).status == 400
    assert upstream.nothing_arrived()
