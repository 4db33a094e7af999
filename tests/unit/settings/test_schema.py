"""The whole tree: its defaults, what must hold between keys, and what the engine is given."""

import pytest
from pydantic import ValidationError

from proxy.domain.settings import ClientKeepAlive, ModelRule, NumCtx
from proxy.settings.schema import AFTER_RESTART, Settings

GIB = 1024**3


def conflict_of(data):
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(data)
    (error,) = caught.value.errors()
    return error["msg"]


def test_the_defaults_are_those_of_the_issue():
    settings = Settings()
    assert (str(settings.server.listen), settings.server.shutdown_grace) == ("127.0.0.1:11435", 30)
    assert (str(settings.admin.listen), settings.upstream.url) == ("127.0.0.1:11436", "http://127.0.0.1:11434")
    assert (settings.upstream.connect_timeout, settings.limits.json_body) == (5, GIB // 2)
    assert (settings.memory.budget, settings.memory.max_models, settings.memory.price) == (None, None, 0.005)
    assert (settings.memory.settle, settings.residency.poll, settings.max_wait) == (0.5, 5, 60)
    assert (settings.policy, settings.client_keep_alive) == ("adaptive", ClientKeepAlive.IGNORE)
    assert (settings.keep_alive.min, settings.keep_alive.max) == (300, 86400)
    assert (settings.metrics.max_models, settings.store.retention) == (200, 30 * 86400)
    assert (settings.log.level, settings.log.format, dict(settings.models)) == ("info", "text", {})


def test_nothing_in_the_tree_can_be_changed():
    settings = Settings.model_validate({"models": {"a": {"pin": True}}})
    with pytest.raises(ValidationError):
        settings.keep_alive.min = 1
    with pytest.raises(TypeError):
        settings.models["b"] = settings.models["a"]


def test_a_section_with_everything_commented_out_stands_for_its_defaults():
    nothing = dict.fromkeys(["server", "admin", "memory", "keep_alive", "models", "log"])
    assert Settings.model_validate(nothing) == Settings()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"models": {"A": {}, "a:*": {}}}, "expected each pattern once (got 'A' before"),
        ({"server": {"listen": ":11436"}}, "expected another address than server.listen's"),
        ({"server": {"listen": "127.0.0.1:11434"}}, "expected Ollama's own address (got http://127.0.0.1:11434"),
        ({"upstream": {"url": "localhost:11436"}}, "expected Ollama's own address (got http://localhost:11436"),
    ],
)
def test_sections_that_contradict_each_other_are_refused(data, message):
    assert conflict_of(data).startswith(message)


def test_a_model_may_be_kept_longer_than_the_general_max():
    engine = Settings.model_validate({"models": {"a": {"min": "48h"}}}).engine()
    assert engine.rule_for("a:latest").max_seconds == 48 * 3600


def test_the_engine_gets_plain_values_and_the_rules_in_the_order_of_the_file():
    engine = Settings.model_validate(
        {
            "policy": "lru",
            "memory": {"budget": "22GiB", "max_models": 4},
            "client_keep_alive": "at_least",
            "num_ctx": "unify",
            "models": {
                "qwen*": {"max": "1h", "num_ctx": "as_asked"},
                "a": {"pin": True, "client_keep_alive": "respect", "weight": 2},
            },
        }
    ).engine()
    assert (engine.policy, engine.budget_bytes, engine.max_models) == ("lru", 22 * GIB, 4)
    assert (engine.reserve_bytes, engine.client_keep_alive) == (GIB // 2, ClientKeepAlive.AT_LEAST)
    assert engine.rules == (
        ("qwen*", ModelRule(max_seconds=3600, num_ctx=NumCtx.AS_ASKED)),
        ("a", ModelRule(pin=True, weight=2, client_keep_alive=ClientKeepAlive.RESPECT)),
    )
    assert [engine.rule_for(model).num_ctx for model in ("qwen3:8b", "a:latest")] == [NumCtx.AS_ASKED, NumCtx.UNIFY]


def test_every_key_that_needs_a_restart_exists():
    settings = Settings()
    assert all(hasattr(getattr(settings, section), key) for section, key in AFTER_RESTART)
