"""Lines that a person can act on: place, key, expectation, value."""

import pytest

from proxy.settings.errors import SettingsError
from proxy.settings.load import load
from proxy.settings.problems import shown


def problems_of(tmp_path, text, env=None):
    path = tmp_path / "keepwarm.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(path, env or {})
    return [problem.removeprefix(f"{path}") for problem in caught.value.problems]


def test_a_wrong_value_is_shown_with_its_place_and_what_was_expected(tmp_path):
    text = "models:\n  llama3:\n    max: 300\n"
    expected = ":3:5: models.llama3.max: expected a duration such as '90s', '5m', '1h30m' (got 300)"
    assert problems_of(tmp_path, text) == [expected]


def test_a_misspelt_word_gets_the_nearest_one(tmp_path):
    expected = ":1:1: policy: expected one of adaptive, fixed, lru (got 'adaptve'), did you mean adaptive?"
    assert problems_of(tmp_path, "policy: adaptve\n") == [expected]


def test_an_unknown_key_is_shown_where_it_stands(tmp_path):
    expected = ":2:3: server.lisen: unknown key, did you mean listen?"
    assert problems_of(tmp_path, "server:\n  lisen: x\n") == [expected]


def test_a_section_that_is_no_mapping_is_refused(tmp_path):
    expected = ": expected a mapping, 'key: value' lines indented below (got "
    assert problems_of(tmp_path, "log: [a]\nmodels:\n  a: 5\n") == [
        f":1:1: log{expected}a list)",
        f":3:3: models.a{expected}5)",
    ]


def test_a_pattern_that_no_model_can_have_is_refused_at_its_place(tmp_path):
    (problem,) = problems_of(tmp_path, "models:\n  'a b':\n    pin: true\n")
    assert problem.startswith(':2:3: models."a b": expected a model name, with * for anything')


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("keep_alive:\n  max: 1m\n", ":2:3: keep_alive.max: expected min"),
        ("keep_alive:\n  min: 9d\n", ":2:3: keep_alive.min: expected min"),
        ("models:\n  a:\n    pin: true\n    never_keep: true\n", ":4:5: models.a.never_keep: expected pin or"),
        ("models:\n  a: {}\n  A: {}\n", ":3:3: models.A: expected each pattern once"),
        ("server:\n  listen: :11436\n", ":2:3: server.listen: expected another address"),
        ("admin:\n  listen: 127.0.0.1:11435\n", ":2:3: admin.listen: expected another address"),
        ("server:\n  listen: :11434\n", ":2:3: server.listen: expected Ollama's own address"),
    ],
)
def test_a_contradiction_is_shown_at_a_key_that_is_written(tmp_path, text, place):
    (problem,) = problems_of(tmp_path, text)
    assert problem.startswith(place)


def test_a_value_from_the_environment_is_shown_with_the_variables_name(tmp_path):
    env = {"KEEPWARM_KEEP_ALIVE_MIN": "on", "OLLAMA_HOST": "localhost:11435"}
    upstream = "expected Ollama's own address (got http://localhost:11435, where keepwarm itself listens)"
    assert problems_of(tmp_path, "", env) == [
        "KEEPWARM_KEEP_ALIVE_MIN: keep_alive.min: expected a duration such as '90s', '5m', '1h30m' (got 'on')",
        f"OLLAMA_HOST: upstream.url: {upstream}",
    ]


def test_all_problems_come_at_once_in_the_order_of_the_file(tmp_path):
    text = "server:\n  listen: 1\npolcy: lru\nkeep_alive:\n  min: 2h\n  min: 3h\n  max: 1h\nlog:\n  level: loud\n"
    places = [problem.split(": ")[:2] for problem in problems_of(tmp_path, text, {"KEEPWARM_X": "1"})]
    assert sorted(places) == [
        [":2:3", "server.listen"],
        [":3:1", "polcy"],
        [":5:3", "keep_alive.min"],
        [":6:3", "keep_alive.min"],
        [":9:3", "log.level"],
        ["KEEPWARM_X", "unknown setting, docs/settings.md lists all of them"],
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nothing"),
        (True, "true"),
        (1.5, "1.5"),
        ({}, "a mapping"),
        ([], "a list"),
        ("x" * 61, f"'{'x' * 60}…'"),
        ("http://user:secret@host", "'http://…@host'"),
    ],
)
def test_a_value_is_shown_as_in_yaml_short_and_without_passwords(value, text):
    assert shown(value) == text
