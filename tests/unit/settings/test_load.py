"""From file and environment to settings and back."""

import pytest
import yaml

from proxy.settings.errors import SettingsError
from proxy.settings.load import load, show
from proxy.settings.schema import Settings

EVERYTHING = """\
server: {listen: "[::]:1", shutdown_grace: 0}
upstream: {url: gpu-box, connect_timeout: 1ms}
memory: {budget: 1.5GiB, reserve: 0B, max_models: 8, price: 1h1m1.001s, settle: 0}
policy: fixed
client_keep_alive: at_most
models:
  "qwen*": {pin: true, max: 36h}
  a:70b: {never_keep: true, weight: 0.5, client_keep_alive: respect}
  nothing:
store: {path: /tmp/x.sqlite, retention: 1d}
log: {level: error, format: json}
"""


def test_without_file_and_environment_the_defaults_hold():
    assert load(None, {}) == Settings()


def test_an_empty_file_stands_for_the_defaults(tmp_path):
    (tmp_path / "f.yaml").touch()
    assert load(tmp_path / "f.yaml", {}) == Settings()


def test_the_environment_is_laid_over_the_file(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_text("policy: lru\nmax_wait: 5s\n")
    settings = load(path, {"KEEPWARM_POLICY": "fixed", "OLLAMA_HOST": "0.0.0.0"})
    assert (settings.policy, settings.max_wait, settings.upstream.url) == ("fixed", 5, "http://127.0.0.1:11434")


def test_a_wrong_value_that_a_variable_overrides_does_no_harm(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_text("policy: nonsense\n")
    assert load(path, {"KEEPWARM_POLICY": "lru"}).policy == "lru"


def test_problems_of_the_environment_alone_are_an_error():
    with pytest.raises(SettingsError) as caught:
        load(None, {"KEEPWARM_POLICI": "lru"})
    assert caught.value.problems == ("KEEPWARM_POLICI: unknown setting, did you mean KEEPWARM_POLICY?",)


@pytest.mark.parametrize("text", ["", EVERYTHING])
def test_what_is_shown_gives_the_same_settings_again(tmp_path, text):
    path = tmp_path / "f.yaml"
    path.write_text(text)
    settings = load(path, {})
    path.write_text(show(settings))
    assert load(path, {}) == settings


def test_what_is_shown_has_every_key_and_of_a_model_what_is_said(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_text(EVERYTHING)
    shown = yaml.safe_load(show(load(path, {})))
    assert list(shown) == list(Settings.model_fields)
    assert shown["memory"] == {
        "budget": "1536MiB",
        "reserve": "0B",
        "max_models": 8,
        "price": "1h1m1.001s",
        "settle": "0s",
    }
    assert shown["models"] == {
        "qwen*": {"pin": True, "max": "36h"},
        "a:70b": {"never_keep": True, "weight": 0.5, "client_keep_alive": "respect"},
        "nothing": {},
    }
    assert yaml.safe_load(show(Settings()))["memory"]["budget"] == "auto"
