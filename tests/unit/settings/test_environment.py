"""Which variable overrides which key, and which are left alone."""

import pytest

from proxy.settings.environment import overlay
from proxy.settings.errors import Place
from proxy.settings.yaml_loader import Document, parse


def overlaid(env, text=""):
    document = parse(text, "f.yaml")
    overlay(document, env)
    return document


def test_a_variable_overrides_one_key_and_is_the_place_of_its_value():
    document = overlaid({"KEEPWARM_KEEP_ALIVE_MIN": "10m"}, "keep_alive:\n  min: 5m\n  max: 1h\n")
    assert document.data == {"keep_alive": {"min": "10m", "max": "1h"}}
    assert document.places[("keep_alive", "min")] == Place("KEEPWARM_KEEP_ALIVE_MIN")
    assert document.places[("keep_alive", "max")] == Place("f.yaml", 3, 3)


def test_a_value_is_read_as_a_plain_yaml_value():
    env = {"KEEPWARM_METRICS_MAX_MODELS": "50", "KEEPWARM_SERVER_LISTEN": "[::]:11435", "KEEPWARM_MEMORY_PRICE": " 0 "}
    assert overlaid(env).data == {
        "memory": {"price": 0},
        "metrics": {"max_models": 50},
        "server": {"listen": "[::]:11435"},
    }


def test_a_variable_fills_a_section_that_is_empty_in_the_file():
    assert overlaid({"KEEPWARM_LOG_LEVEL": "debug"}, "log:\n").data == {"log": {"level": "debug"}}


def test_a_section_that_is_no_mapping_stays_to_be_reported():
    assert overlaid({"KEEPWARM_LOG_LEVEL": "debug"}, "log: loud\n").data == {"log": "loud"}


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_variable_counts_as_not_set(text):
    assert overlaid({"KEEPWARM_POLICY": text, "OLLAMA_HOST": text}).data == {}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("KEEPWARM_POLCY", "did you mean KEEPWARM_POLICY?"),
        ("KEEPWARM_KEEPALIVE_MIN", "did you mean KEEPWARM_KEEP_ALIVE_MIN?"),
        ("KEEPWARM_ZZZ", "docs/settings.md lists all of them"),
    ],
)
def test_a_variable_that_means_no_key_is_a_problem(name, hint):
    (problem,) = overlaid({name: "x"}).problems
    assert str(problem) == f"{name}: unknown setting, {hint}"


def test_what_is_no_setting_is_left_alone():
    env = {
        "KEEPWARM_CONFIG": "/etc/keepwarm.yaml",
        "KEEPWARM_ADMIN_URL": "http://gpu-box:11436",
        "PATH": "/bin",
        # what Kubernetes sets beside a Service named keepwarm
        "KEEPWARM_SERVICE_HOST": "10.0.0.1",
        "KEEPWARM_SERVICE_PORT": "11435",
        "KEEPWARM_SERVICE_PORT_HTTP": "11435",
        "KEEPWARM_PORT": "tcp://10.0.0.1:11435",
        "KEEPWARM_PORT_11435_TCP": "tcp://10.0.0.1:11435",
        "KEEPWARM_PORT_11435_TCP_PROTO": "tcp",
    }
    assert overlaid(env) == Document({}, {})


@pytest.mark.parametrize("text", ["", "upstream:\n", "upstream: {url: auto}\n"])
def test_ollama_host_is_what_auto_means(text):
    document = overlaid({"OLLAMA_HOST": ' "gpu-box:8080" '}, text)
    assert document.data == {"upstream": {"url": "gpu-box:8080"}}
    assert document.places[("upstream", "url")] == Place("OLLAMA_HOST")


def test_ollama_host_gives_way_to_the_file_and_to_our_own_variable():
    assert overlaid({"OLLAMA_HOST": "a"}, "upstream: {url: b}\n").data == {"upstream": {"url": "b"}}
    assert overlaid({"OLLAMA_HOST": "a", "KEEPWARM_UPSTREAM_URL": "c"}).data == {"upstream": {"url": "c"}}
