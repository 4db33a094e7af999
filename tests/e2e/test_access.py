"""Keys and HTTPS as real clients meet them, before a real Ollama: the libraries of OpenAI, Anthropic, Ollama; curl."""

import json
import os
import re
import subprocess
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import anthropic
import ollama
import openai
import pytest
import pytest_asyncio

from tests.e2e.keepwarm_process import Keepwarm, running_keepwarm
from tests.e2e.ollama_build.model_template import STANDARD_MODELS
from tests.e2e.proxy_fixtures import FAST, Happenings
from tests.unit.server.certificates import make_certificate

if TYPE_CHECKING:
    from tests.e2e.conftest import StartOllama
    from tests.e2e.real_ollama import RealOllama

pytestmark = pytest.mark.e2e

LLM, EMBED = "llama3.2:1b", "nomic-embed-text"
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
ALICE, BOB = "kw_alice-secret", "kw_bob-secret"
ACCESS = {
    "keys": {name: sha256(key.encode()).hexdigest() for name, key in (("alice", ALICE), ("bob", BOB))},
    "allow": {"keyless": {"endpoints": []}, "bob": {"models": [EMBED]}},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream(start_module_ollama: "StartOllama") -> "RealOllama":
    return await start_module_ollama(FAST, [model for model in STANDARD_MODELS if model.name in (LLM, EMBED)])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("certificate"), "keepwarm")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keepwarm(upstream: "RealOllama", certificate: tuple[Path, Path]) -> AsyncIterator[Keepwarm]:
    tls = {"certificate": str(certificate[0]), "key": str(certificate[1])}
    settings = {"access": ACCESS, "server": {"listen": "127.0.0.1:0", "tls": tls}}
    async with running_keepwarm(upstream.url, settings) as keepwarm:
        yield keepwarm


@pytest.fixture(autouse=True)
def trusted(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """As docs/access.md tells users whose certificate no authority has signed."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))


Library = Callable[[str, str], Any]


def openai_of(url: str, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


def anthropic_of(url: str, key: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=url, api_key=key, max_retries=0)


def anthropic_bearer_of(url: str, key: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=url, auth_token=key, max_retries=0)


def chats(client: openai.OpenAI) -> Any:
    return client.chat.completions.create(model=LLM, messages=HELLO).choices[0].message.content


def messages(client: anthropic.Anthropic) -> Any:
    return client.messages.create(model=LLM, messages=HELLO, max_tokens=8).content


ASKS = [(openai_of, chats), (anthropic_of, messages), (anthropic_bearer_of, messages)]


@pytest.mark.parametrize(("library", "ask"), ASKS)
def test_a_key_is_what_the_libraries_call_an_api_key(
    keepwarm: Keepwarm, library: Library, ask: Callable[[Any], Any]
) -> None:
    with library(keepwarm.url, ALICE) as client:
        assert ask(client)


@pytest.mark.parametrize(("library", "ask"), ASKS)
def test_the_libraries_raise_their_own_errors_for_a_wrong_key_and_for_what_is_not_allowed(
    keepwarm: Keepwarm, library: Library, ask: Callable[[Any], Any]
) -> None:
    errors: Any = openai if library is openai_of else anthropic
    for key, error, words in (
        ("wrong", errors.AuthenticationError, "keepwarm does not know this key"),
        (BOB, errors.PermissionDeniedError, "the key of 'bob' may not use this model"),
    ):
        with library(keepwarm.url, key) as client, pytest.raises(error, match=words):
            ask(client)


def test_the_openai_library_sees_only_the_models_that_exist_for_its_key(keepwarm: Keepwarm) -> None:
    with openai_of(keepwarm.url, ALICE) as alice, openai_of(keepwarm.url, BOB) as bob:
        assert {model.id for model in alice.models.list()} == {LLM, f"{EMBED}:latest"}
        assert {model.id for model in bob.models.list()} == {f"{EMBED}:latest"}
        with pytest.raises(openai.NotFoundError):
            bob.models.retrieve(LLM)


def test_ollamas_own_library_is_told_as_ollama_tells_it(keepwarm: Keepwarm, upstream: "RealOllama") -> None:
    with (
        ollama.Client(keepwarm.url, headers={"Authorization": f"Bearer {BOB}"}) as bob,
        ollama.Client(upstream.url) as direct,
    ):
        assert [model.model for model in bob.list().models] == [f"{EMBED}:latest"]
        with pytest.raises(ollama.ResponseError) as unknown:
            direct.show("no-such:1b")
        with pytest.raises(ollama.ResponseError) as hidden:
            bob.show(LLM)
        assert hidden.value.status_code == unknown.value.status_code == 404
        assert hidden.value.error == unknown.value.error.replace("no-such:1b", LLM)
        with pytest.raises(ollama.ResponseError, match="may not manage models") as refused:
            bob.delete(EMBED)
        assert refused.value.status_code == 403


def test_curl_speaks_https_with_it_and_the_key_reaches_no_log(
    keepwarm: Keepwarm, upstream: "RealOllama", certificate: tuple[Path, Path]
) -> None:
    def curl(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["curl", "-sS", "--max-time", "20", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]})

    url, trusted = f"{keepwarm.url}/api/chat", ("--cacert", str(certificate[0]))
    body = json.dumps({"model": LLM, "messages": HELLO, "stream": False})
    good = curl(*trusted, url, "-H", f"Authorization: Bearer {ALICE}", "-d", body)
    assert (good.returncode, json.loads(good.stdout)["done"]) == (0, True), good.stderr
    assert json.loads(curl(*trusted, url, "-d", body).stdout)["error"].startswith("keepwarm asks for a key: ")
    assert curl(url).returncode == 60  # nobody that curl trusts has signed it
    assert re.search("secret", keepwarm.log() + upstream.log.read_text()) is None


async def test_for_a_page_that_ollama_refuses_no_model_is_loaded(upstream: "RealOllama") -> None:
    async with running_keepwarm(upstream.url) as keepwarm:
        happenings = Happenings(upstream)
        body = json.dumps({"model": EMBED, "input": "Hello"}).encode()  # nobody has asked for it yet
        for origin, status in (("http://evil.example", 403), ("http://localhost:3000", 200)):
            async with (
                aiohttp.ClientSession() as page,
                page.post(f"{keepwarm.url}/api/embed", data=body, headers={"Origin": origin}) as answer,
            ):
                assert answer.status == status
                assert answer.headers.get("Access-Control-Allow-Origin") == (origin if status == 200 else None)
            assert bool(happenings.of("loaded")) == (status == 200)
