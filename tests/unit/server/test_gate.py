"""Who may come in, with which key, for what; and that no name of a web site leads to this machine."""

from __future__ import annotations

from hashlib import sha256
from http import HTTPStatus
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from proxy.domain.access import KEYLESS, Group
from proxy.server.gate import Gate, Visit, is_local_name, require
from proxy.server.refused import RefusedError
from proxy.settings.schema import Settings

ALICE, BOB = "kw_alice", "kw_bob"
DIGESTS = {"alice": sha256(ALICE.encode()).hexdigest(), "bob": sha256(BOB.encode()).hexdigest()}
LOCAL = {"Host": "127.0.0.1:11435"}


def gate(*, on_loopback: bool = False, **access: Any) -> Gate:
    settings = Settings.model_validate({"access": {"keys": DIGESTS, **access}})
    return Gate(settings.access, on_loopback=on_loopback)


def visit(gate: Gate, path: str = "/api/chat", method: str = "POST", **headers: str) -> Visit:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return gate.visit(make_mocked_request(method, path, headers={**LOCAL, **named}), path)


def refusal(gate: Gate, path: str = "/api/chat", method: str = "POST", **headers: str) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        visit(gate, path, method, **headers)
    return caught.value


# Keys


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {ALICE}"},
        {"Authorization": f"bearer  {ALICE} "},
        {"X_Api_Key": ALICE},
        {"Authorization": "Bearer of-another-service", "X_Api_Key": ALICE},
        {"Authorization": f"Bearer {ALICE}", "X_Api_Key": "of-another-service"},
        {"Authorization": "Basic eDp5", "X_Api_Key": ALICE},
    ],
)
def test_a_client_is_known_by_its_key_and_no_key_goes_on(headers: dict[str, str]) -> None:
    came = visit(gate(), **headers)
    assert came.client.name == "alice"
    assert came.dropped == ("authorization", "x-api-key")


def test_a_key_goes_on_where_the_settings_say_so() -> None:
    assert visit(gate(forward_key=True), X_Api_Key=BOB).dropped == ()


@pytest.mark.parametrize("key", ["kw_alic", "kw_alicee", "KW_ALICE", DIGESTS["alice"], "ключ", "x" * 60_000])
@pytest.mark.parametrize("on_loopback", [True, False])
def test_a_wrong_key_is_refused_everywhere_and_not_repeated(key: str, *, on_loopback: bool) -> None:
    for headers in ({"Authorization": f"Bearer {key}"}, {"X_Api_Key": key}):
        error = refusal(gate(on_loopback=on_loopback), **headers)
        assert error.status == HTTPStatus.UNAUTHORIZED
        assert error.headers == {"WWW-Authenticate": 'Bearer realm="keepwarm"'}
        assert str(error) == "keepwarm does not know this key"


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer "}, {"X_Api_Key": " "}, {"Authorization": "Basic x"}]
)
def test_no_key_is_refused_unless_keepwarm_listens_on_loopback(headers: dict[str, str]) -> None:
    error = refusal(gate(), **headers)
    assert error.status == HTTPStatus.UNAUTHORIZED
    assert str(error).startswith("keepwarm asks for a key: ")
    came = visit(gate(on_loopback=True), "/api/pull", **headers)
    assert (came.client.name, came.client.is_limited, came.dropped) == (KEYLESS, False, ())


@pytest.mark.parametrize("header", ["Forwarded", "X_Forwarded_For", "X_Real_IP", "Via"])
def test_what_another_proxy_on_this_machine_passes_on_is_not_from_this_machine(header: str) -> None:
    assert refusal(gate(on_loopback=True), **{header: "x"}).status == HTTPStatus.UNAUTHORIZED
    assert visit(gate(on_loopback=True), X_Api_Key=ALICE, **{header: "x"}).client.name == "alice"
    told = gate(on_loopback=True, allow={"keyless": {"endpoints": ["use"]}})
    assert visit(told, **{header: "x"}).client.name == KEYLESS
    assert not visit(gate(on_loopback=True, keys={}), **{header: "x"}).client.is_limited


def test_new_settings_count_from_the_next_request_on() -> None:
    changing = gate()
    assert visit(changing, X_Api_Key=ALICE).client.name == "alice"
    changing.update(Settings.model_validate({"access": {"keys": {"bob": DIGESTS["bob"]}}}).access)
    assert refusal(changing, X_Api_Key=ALICE).status == HTTPStatus.UNAUTHORIZED
    assert visit(changing, X_Api_Key=BOB).client.name == "bob"
    changing.update(Settings().access)
    assert visit(changing, X_Api_Key="anything") == visit(changing)


def test_without_keys_nothing_is_asked_for_and_everything_goes_on() -> None:
    came = visit(gate(keys={}), "/api/delete", "DELETE", Authorization="Bearer of-somebody-else")
    assert (came.client.name, came.client.is_limited, came.dropped) == (KEYLESS, False, ())


# Groups

USES = [
    *[("POST", f"/api/{name}") for name in ("generate", "chat", "embed", "embeddings", "show")],
    *[("POST", f"/v1/{name}") for name in ("chat/completions", "completions", "embeddings", "responses", "messages")],
    *[(method, path) for method in ("GET", "HEAD") for path in ("/", "/api/version", "/api/tags", "/api/ps")],
    *[("GET", "/v1/models"), ("GET", "/v1/models/llama3"), ("POST", "/v1/audio/transcriptions")],
]
MANAGES = [
    *[("POST", f"/api/{name}") for name in ("pull", "push", "create", "copy", "blobs/sha256:1", "me", "signout")],
    *[("DELETE", "/api/delete"), ("HEAD", "/api/blobs/sha256:1"), ("GET", "/api/of-the-future"), ("POST", "/api/tags")],
    *[("GET", "/api/chat"), ("PUT", "/api/chat"), ("GET", "//api/tags"), ("GET", "/api/tags/"), ("GET", "/API/tags")],
    *[("POST", "/v1/models"), ("GET", "*"), ("OPTIONS", "/api/chat"), ("GET", "")],
]


@pytest.mark.parametrize(("method", "path"), USES)
def test_a_key_is_for_use_by_default(method: str, path: str) -> None:
    assert visit(gate(), path, method, X_Api_Key=ALICE).client.name == "alice"
    managing = gate(allow={"alice": {"endpoints": ["manage"]}})
    assert refusal(managing, path, method, X_Api_Key=ALICE).status == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize(("method", "path"), MANAGES)
def test_what_is_not_known_to_be_use_counts_as_management(method: str, path: str) -> None:
    error = refusal(gate(), path, method, X_Api_Key=ALICE)
    assert error.status == HTTPStatus.FORBIDDEN
    assert str(error) == "the key of 'alice' may not manage models (access.allow)"
    managing = gate(allow={"alice": {"endpoints": ["manage"]}})
    assert visit(managing, path, method, X_Api_Key=ALICE).client.name == "alice"


def test_one_who_may_only_unload_comes_in_where_that_is_done_and_nowhere_else() -> None:
    unloading = gate(allow={"alice": {"endpoints": ["unload"]}})
    client = visit(unloading, "/api/generate", X_Api_Key=ALICE).client
    require(client, Group.UNLOAD, "llama3:latest")
    with pytest.raises(RefusedError, match="may not use models"):
        require(client, Group.USE, "llama3:latest")
    for path in ("/api/show", "/api/embed", "/v1/chat/completions"):
        assert refusal(unloading, path, X_Api_Key=ALICE).status == HTTPStatus.FORBIDDEN


def test_one_without_a_key_who_may_only_read_is_asked_for_a_key_for_more() -> None:
    reading = gate(allow={"keyless": {"endpoints": ["use"]}})
    assert visit(reading).client.name == KEYLESS
    assert refusal(reading, "/api/pull").status == HTTPStatus.UNAUTHORIZED


def test_a_model_that_does_not_exist_for_a_client_is_refused() -> None:
    client = visit(gate(allow={"alice": {"models": ["llama3*"]}}), X_Api_Key=ALICE).client
    require(client, Group.USE, "llama3:latest")
    with pytest.raises(RefusedError, match="the key of 'alice' may not use this model") as caught:
        require(client, Group.USE, "qwen3:8b")
    assert caught.value.status == HTTPStatus.FORBIDDEN


# Browsers


def test_a_browser_may_ask_before_it_sends_its_key() -> None:
    asked = {"Origin": "http://a.example", "Access_Control_Request_Method": "POST"}
    assert visit(gate(), "/api/chat", "OPTIONS", **asked).client.name == KEYLESS
    assert refusal(gate(), "/api/chat", "OPTIONS").status == HTTPStatus.UNAUTHORIZED
    assert refusal(gate(), "/api/chat", "POST", **asked).status == HTTPStatus.UNAUTHORIZED


@pytest.mark.parametrize(
    ("origin", "dropped"),
    [
        ("http://127.0.0.1:11435", ("origin",)),
        ("https://127.0.0.1:11435", ("origin",)),
        ("http://127.0.0.1", ()),
        ("http://evil.example", ()),
        ("null", ()),
    ],
)
def test_ollama_does_not_hear_of_an_origin_that_is_the_clients_own_host(origin: str, dropped: tuple[str, ...]) -> None:
    assert visit(gate(keys={}, forward_key=True), Origin=origin).dropped == dropped


def test_an_origin_that_may_be_a_rebound_name_is_left_for_ollama_to_judge_unless_a_key_came() -> None:
    headers = {"Host": "evil.example:11435", "Origin": "http://evil.example:11435"}
    assert visit(gate(keys={}), **headers).dropped == ()
    assert visit(gate(forward_key=True), **headers, X_Api_Key=ALICE).dropped == ("origin",)


LOCAL_NAMES = [
    *["", "localhost", "LOCALHOST:11435", "127.0.0.1", "127.0.0.1:11435", "[::1]:11435", "[::1]", "192.168.1.2:1"],
    *[
        "gpu-box",
        "keepwarm:11435",
        "app.localhost:3000",
        "gpu.local",
        "host.docker.internal:11435",
        "keepwarm.home.svc",
    ],
]
FOREIGN_NAMES = [
    *["evil.example", "evil.example:11435", "127.0.0.1.evil.example", "localhost.evil.example:1", "1.2.3", "a.b:x"],
    *["localhost.", "evil.example:", "[::1].evil.example", "2130706433.x", "é.example"],
]


@pytest.mark.parametrize("host", LOCAL_NAMES)
def test_a_name_that_no_web_site_can_have_leads_here(host: str) -> None:
    assert is_local_name(host)
    assert visit(gate(on_loopback=True, keys={}), Host=host).client.name == KEYLESS


@pytest.mark.parametrize("host", FOREIGN_NAMES)
def test_a_name_that_a_web_site_can_have_does_not_lead_to_this_machine_without_a_key(host: str) -> None:
    assert not is_local_name(host)
    for keys in ({}, DIGESTS):
        error = refusal(gate(on_loopback=True, keys=keys), Host=host, Origin=f"http://{host}")
        assert error.status == HTTPStatus.FORBIDDEN
    assert visit(gate(on_loopback=True), Host=host, X_Api_Key=ALICE).client.name == "alice"
    assert visit(gate(on_loopback=False, keys={}), Host=host).client.name == KEYLESS


def test_a_host_of_any_length_is_looked_at_in_no_time() -> None:
    assert refusal(gate(on_loopback=True, keys={}), Host="a" * 60_000).status == HTTPStatus.FORBIDDEN
