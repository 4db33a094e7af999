"""Which rule holds for which model, and which values no decision can be made with."""

import math
from dataclasses import replace

import pytest

from proxy.domain.settings import ClientKeepAlive, EngineSettings, ModelRule, specificity

HOUR = 3600.0

PLAIN = EngineSettings(
    policy="adaptive",
    budget_bytes=None,
    reserve_bytes=0,
    max_models=None,
    price_seconds_per_gib_hour=0.005,
    settle_seconds=0.5,
    poll_seconds=5.0,
    keep_alive_min_seconds=300.0,
    keep_alive_max_seconds=24 * HOUR,
    client_keep_alive=ClientKeepAlive.IGNORE,
    max_wait_seconds=60.0,
)


def with_rules(*rules):
    return replace(PLAIN, rules=rules)


def test_without_rules_the_general_settings_hold():
    rule = PLAIN.rule_for("qwen3:14b")
    assert (rule.pin, rule.never_keep, rule.weight) == (False, False, 1.0)
    assert (rule.min_seconds, rule.max_seconds, rule.client_keep_alive) == (300.0, 24 * HOUR, "ignore")


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("llama3.2", ["llama3.2:latest", "llama3.2:1b"], ["llama3.2-vision:11b", "me/llama3.2:1b"]),
        ("llama3.2:1b", ["llama3.2:1b"], ["llama3.2:latest"]),
        ("Library/Llama3.2", ["llama3.2:3b"], []),
        ("qwen*", ["qwen3:14b", "qwen2.5-coder:7b"], ["me/qwen3:14b"]),
        ("*:70b", ["llama3.1:70b", "me/x:70b"], ["llama3.1:8b"]),
        ("*", ["llama3.1:70b", "hf.co/me/x-gguf:q4_k_m"], []),
        ("hf.co/*", ["hf.co/me/x-gguf:q4_k_m"], ["x:latest"]),
        ("localhost:5000/me/x", ["localhost:5000/me/x:latest"], ["x:latest"]),
        ("qwen[23]", ["qwen3:14b"], ["qwen4:14b"]),
    ],
)
def test_a_pattern_matches_canonical_names_and_every_tag_if_it_has_none(pattern, matching, others):
    settings = with_rules((pattern, ModelRule(pin=True)))
    assert [model for model in [*matching, *others] if settings.rule_for(model).pin] == matching


def test_each_key_comes_from_the_most_specific_pattern_that_says_it():
    settings = with_rules(
        ("*", ModelRule(max_seconds=2 * HOUR, weight=3.0)),
        ("qwen3:14b", ModelRule(pin=True)),
        ("qwen*", ModelRule(weight=2.0, client_keep_alive=ClientKeepAlive.RESPECT)),
    )
    rule = settings.rule_for("qwen3:14b")
    assert (rule.pin, rule.weight, rule.max_seconds, rule.client_keep_alive) == (True, 2.0, 2 * HOUR, "respect")
    assert settings.rule_for("gemma3:27b").weight == 3.0


def test_an_exact_name_is_more_specific_than_any_wildcard_and_equals_keep_the_order_of_the_file():
    assert specificity("a:b") > specificity("averylongname*:b")
    assert specificity("qwen3*") > specificity("qwen*")
    assert with_rules(("*a", ModelRule(weight=2.0)), ("a*", ModelRule(weight=3.0))).rule_for("aa:a").weight == 2.0


def test_a_specific_min_lifts_a_general_max_and_a_specific_max_lowers_a_general_min():
    long = with_rules(("a", ModelRule(min_seconds=48 * HOUR))).rule_for("a:latest")
    short = with_rules(("a", ModelRule(max_seconds=60.0))).rule_for("a:latest")
    assert (long.min_seconds, long.max_seconds) == (48 * HOUR, 48 * HOUR)
    assert (short.min_seconds, short.max_seconds) == (60.0, 60.0)


def test_of_pin_and_never_keep_the_more_specific_one_prevails():
    settings = with_rules(("*", ModelRule(never_keep=True)), ("a", ModelRule(pin=True)))
    pinned, other = settings.rule_for("a:latest"), settings.rule_for("b:latest")
    assert (pinned.pin, pinned.never_keep, other.pin, other.never_keep) == (True, False, False, True)
    reverse = with_rules(("*", ModelRule(pin=True)), ("a", ModelRule(never_keep=True))).rule_for("a:latest")
    assert (reverse.pin, reverse.never_keep) == (False, True)


def test_settings_that_say_the_same_are_equal():
    assert with_rules(("a", ModelRule(pin=True))) == with_rules(("a", ModelRule(pin=True)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policy": "best"}, "policy must be one of adaptive, fixed, lru, got best"),
        ({"budget_bytes": 0}, "budget_bytes must be None or > 0, got 0"),
        ({"reserve_bytes": -1}, "reserve_bytes must be >= 0, got -1"),
        ({"max_models": 0}, "max_models must be None or >= 1, got 0"),
        (
            {"price_seconds_per_gib_hour": math.nan},
            "price_seconds_per_gib_hour must be finite and >= 0 seconds, got nan",
        ),
        ({"max_wait_seconds": -3}, "max_wait_seconds must be finite and >= 0 seconds, got -3"),
        ({"poll_seconds": 0}, "poll_seconds must be > 0, got 0"),
        ({"keep_alive_max_seconds": math.inf}, "max_seconds must be finite and >= 0, got inf"),
        ({"keep_alive_min_seconds": 1e9}, "min_seconds must be <= 86400.0, got 1000000000.0"),
    ],
)
def test_settings_that_no_decision_can_be_made_with_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(PLAIN, **change)


@pytest.mark.parametrize(
    "rule",
    [
        {"weight": 0},
        {"weight": math.inf},
        {"min_seconds": -1},
        {"min_seconds": 2, "max_seconds": 1},
        {"pin": True, "never_keep": True},
    ],
)
def test_a_rule_that_contradicts_itself_is_refused(rule):
    with pytest.raises(ValueError, match="must"):
        ModelRule(**rule)
