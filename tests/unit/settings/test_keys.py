"""The table of keys, their variables, and what a misspelt one may have meant."""

import pytest

from proxy.settings.keys import ENTRIES, KEYS, VARIABLES, nearest, siblings, suggestion


def test_each_key_but_those_with_names_below_has_a_variable_of_its_own():
    assert len(set(VARIABLES.values())) == len(VARIABLES) == len(KEYS) - len(ENTRIES)
    assert VARIABLES["KEEPWARM_KEEP_ALIVE_MIN"] == ("keep_alive", "min")
    assert VARIABLES["KEEPWARM_CLIENT_KEEP_ALIVE"] == ("client_keep_alive",)
    assert not ENTRIES.keys() & set(VARIABLES.values())


def test_siblings_are_the_keys_of_the_same_section():
    assert siblings(("upstream", "x")) == ("url", "connect_timeout")
    assert siblings(("models", "qwen*", "x")) == (
        "pin",
        "never_keep",
        "min",
        "max",
        "weight",
        "client_keep_alive",
        "num_ctx",
        "warm_up",
    )
    assert {"server", "policy", "models"} <= set(siblings(("x",)))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("polcy",), "did you mean policy?"),
        (("server", "Listen"), "did you mean listen?"),
        (("models", "a", "never-keep"), "did you mean never_keep?"),
        (("access", "allow", "alice", "model"), "did you mean models?"),
        (("server", "tls", "certficate"), "did you mean certificate?"),
        (("retention",), "did you mean store.retention?"),
        (("listen",), "did you mean server.listen or admin.listen?"),
        (("upstream", "zzz"), "known here: url, connect_timeout"),
    ],
)
def test_an_unknown_key_gets_the_nearest_one(path, text):
    assert suggestion(path) == text


def test_nothing_is_suggested_for_a_word_like_none():
    assert nearest("zzz", ["adaptive", "lru"]) is None
