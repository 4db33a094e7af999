"""The section `access`: names, digests, and what each client may do."""

from hashlib import sha256

import pytest

from proxy.domain.access import EVERYTHING, KEYLESS, Group
from proxy.settings import SettingsError, load
from proxy.settings.schema import Settings

KEY = "kw_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
DIGEST = sha256(KEY.encode()).hexdigest()
KEYS = f"access:\n  keys:\n    alice: {DIGEST}\n"
GROUPS = "a list such as [use, unload], of use, manage, unload"
USE, NOTHING = frozenset({Group.USE}), frozenset()


def problem_of(tmp_path, text):
    path = tmp_path / "f.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(path, {})
    (problem,) = caught.value.problems
    return problem.removeprefix(str(path))


def access(**said):
    return Settings.model_validate({"access": {"keys": {"alice": DIGEST}, **said}}).access


def test_without_keys_everyone_may_do_everything_wherever_keepwarm_listens():
    settings = Settings().access
    for on_loopback in (True, False):
        assert not settings.client(KEYLESS, on_loopback=on_loopback).is_limited


@pytest.mark.parametrize(("on_loopback", "groups"), [(True, EVERYTHING), (False, NOTHING)])
def test_with_keys_those_without_one_may_do_everything_on_loopback_and_nothing_elsewhere(on_loopback, groups):
    assert access().client(KEYLESS, on_loopback=on_loopback).groups == groups


def test_a_key_is_for_using_every_model_unless_the_settings_say_more_or_less():
    alice = access().client("alice", on_loopback=False)
    assert (alice.name, alice.groups, alice.models) == ("alice", USE, None)
    narrowed = access(allow={"alice": {"models": ["llama3*"]}}).client("alice", on_loopback=True)
    assert (narrowed.groups, narrowed.models) == (USE, ("llama3*",))
    wide = access(allow={"alice": {"endpoints": ["manage", "unload"]}}).client("alice", on_loopback=True)
    assert wide.groups == {Group.MANAGE, Group.UNLOAD}


@pytest.mark.parametrize("on_loopback", [True, False])
def test_what_is_said_of_those_without_a_key_holds_everywhere(on_loopback):
    nothing = access(allow={"keyless": {"endpoints": []}}).client(KEYLESS, on_loopback=on_loopback)
    reading = access(allow={"keyless": {"endpoints": ["use"]}}).client(KEYLESS, on_loopback=on_loopback)
    assert (nothing.groups, reading.groups) == (NOTHING, USE)


def test_the_engine_gets_the_weights():
    settings = Settings.model_validate({"access": {"keys": {"a": DIGEST}, "weights": {"a": 3, "keyless": 0.5}}})
    assert settings.engine().client_weights == {"a": 3.0, "keyless": 0.5}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "access:\n  keys:\n    keyless: " + DIGEST,
            ":3:5: access.keys.keyless: expected another name: 'keyless' has a meaning of its own",
        ),
        (
            KEYS + "  weights:\n    bob: 2\n",
            ":5:5: access.weights.bob: expected keyless or a name from access.keys (got 'bob')",
        ),
        (
            KEYS + "  allow:\n    alic: {}\n",
            ":5:5: access.allow.alic: expected keyless or a name from access.keys (got 'alic')",
        ),
        (KEYS + f"    bob: {DIGEST}\n", ":4:5: access.keys.bob: expected a key of its own (got that of 'alice')"),
        (
            KEYS + "  allow:\n    alice:\n      endpoints: use\n",
            f":6:7: access.allow.alice.endpoints: expected {GROUPS} (got 'use')",
        ),
        (
            KEYS + "  allow:\n    alice:\n      models: ['a b']\n",
            ":6:7: access.allow.alice.models: expected a list such as ['llama3*', 'qwen3:8b'] (got a list)",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_at_its_place(tmp_path, text, problem):
    assert problem_of(tmp_path, text) == problem


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (f"access:\n  keys:\n    alice: {KEY}\n", ":3:5: access.keys.alice: expected the SHA-256 of a key, 64"),
        (f"access:\n  keys:\n    {KEY}: {DIGEST}\n", ':3:5: access.keys."kw_0…": expected a name of at most 32'),
        (f"admin:\n  token_sha256: {KEY}\n", ":2:3: admin.token_sha256: expected none or the SHA-256 of a key, 64"),
    ],
)
def test_a_key_in_the_wrong_place_is_not_shown(tmp_path, text, where):
    problem = problem_of(tmp_path, text)
    assert problem.startswith(where)
    assert problem.endswith("(got something else of 46 characters)")
    assert KEY[5:] not in problem


def test_a_section_with_everything_commented_out_stands_for_its_defaults():
    nothing = {"access": {"keys": None, "allow": None, "weights": None}}
    assert Settings.model_validate(nothing) == Settings()


@pytest.mark.parametrize("listen", [":11436", "0.0.0.0:11436", "[::]:1", "192.168.1.2:11436", "gpu-box:11436"])
def test_the_admin_port_needs_a_token_where_others_reach_it(tmp_path, listen):
    text = f"admin:\n  listen: '{listen}'\n"
    problem = problem_of(tmp_path, text)
    assert problem.startswith(":2:3: admin.listen: expected an address that only this machine reaches, such as ")
    assert f"(got {listen} and no token)" in problem
    path = tmp_path / "f.yaml"
    path.write_text(f"{text}  token_sha256: {DIGEST.upper()}\n")
    assert load(path, {}).admin.token_sha256 == DIGEST
    path.write_text(f"{text}  private_network: true\n")
    assert load(path, {}).admin.needs_no_token


@pytest.mark.parametrize("listen", ["127.0.0.1:11436", "127.1.2.3:0", "[::1]:11436", "localhost:11436"])
def test_the_admin_port_needs_no_token_on_loopback(listen):
    assert Settings.model_validate({"admin": {"listen": listen}}).admin.listen.is_loopback


@pytest.mark.parametrize("half", [{"certificate": "/c.pem"}, {"key": "/k.pem"}])
def test_a_certificate_without_its_key_is_refused(half):
    with pytest.raises(ValueError, match="expected both certificate and key, or neither"):
        Settings.model_validate({"server": {"tls": half}})
