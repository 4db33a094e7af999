"""The files written from the schema are up to date, complete and true."""

import json
import re

import pytest
import yaml

from proxy.settings.generate import REPOSITORY, json_schema, main, reference
from proxy.settings.keys import ENTRIES, KEYS, MODEL_KEYS, VARIABLES
from proxy.settings.load import load
from proxy.settings.schema import Settings

EXAMPLE = REPOSITORY / "config" / "keepwarm.yaml"
SCHEMA = json.loads(json_schema())


def objects(schema):
    yield schema
    yield from schema["$defs"].values()


def leaves():
    for section in objects(SCHEMA):
        yield from (leaf for leaf in section["properties"].values() if "$ref" not in leaf)


def accepts(leaf, value):
    """The few words of JSON schema that the schema is made of."""
    if "anyOf" in leaf:
        return any(accepts(option, value) for option in leaf["anyOf"])
    if "const" in leaf or "enum" in leaf:
        return value in leaf.get("enum", [leaf.get("const")])
    if leaf.get("type") == "array":
        return isinstance(value, list) and all(accepts(leaf["items"], item) for item in value)
    types = {"string": str, "integer": int, "number": float, "boolean": bool, "object": dict, "null": type(None)}
    names = [leaf["type"]] if isinstance(leaf["type"], str) else leaf["type"]
    fits = any(type(value) is types[name] for name in names)
    return fits and (not isinstance(value, str) or re.search(leaf.get("pattern", ""), value) is not None)


def test_the_files_in_the_repository_are_up_to_date():
    assert main(["--check"]) == 0


def test_the_settings_file_holds_the_defaults():
    assert load(EXAMPLE, {}) == Settings()


def test_the_settings_file_names_its_schema_in_the_first_line_and_has_every_key_with_a_comment():
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# yaml-language-server: $schema=./keepwarm.schema.json"
    data = yaml.safe_load("\n".join(lines))
    assert list(data) == list(Settings.model_fields)
    for path in KEYS:
        section = data
        for part in path[:-1]:
            section = section[part]
        assert path[-1] in section
    keys = [number for number, line in enumerate(lines) if re.match(r" *[a-z_]+:", line)]
    assert all(lines[number - 1].lstrip().startswith("#") for number in keys)


def test_the_example_of_models_is_valid_when_its_comment_signs_are_taken_away(tmp_path):
    text = EXAMPLE.read_text(encoding="utf-8")
    before, _, rest = text.partition("models:\n")
    example, _, after = rest.partition("\n\n")
    path = tmp_path / "f.yaml"
    uncommented = re.sub("^  # ", "  ", example, flags=re.MULTILINE)
    path.write_text(f"{before}models:\n{uncommented}\n\n{after}")
    settings = load(path, {})
    assert list(settings.models) == ["llama3.2", "qwen*", "*:70b"]
    said = {key for model in settings.models.values() for key in model.model_fields_set}
    assert said == set(MODEL_KEYS)


def test_the_examples_of_access_are_valid_when_their_comment_signs_are_taken_away(tmp_path):
    text = EXAMPLE.read_text(encoding="utf-8")
    before, access, rest = text.partition("\naccess:\n")
    section, end, after = rest.partition("\n\n")
    path = tmp_path / "f.yaml"
    uncommented = re.sub(r"^    # (?=alice:|  |keyless:)", "    ", section, flags=re.MULTILINE)
    path.write_text(f"{before}{access}{uncommented}{end}{after}")
    settings = load(path, {}).access
    assert list(settings.keys) == list(settings.weights) == ["alice"]
    assert settings.allow["alice"].models == ("llama3*", "qwen3:8b")
    assert settings.allow["keyless"].endpoints == frozenset()


def test_an_editor_refuses_unknown_keys_everywhere():
    assert all(section["additionalProperties"] is False for section in objects(SCHEMA))
    assert SCHEMA["properties"]["models"]["additionalProperties"] is False
    for name in ("keys", "allow", "weights"):
        assert SCHEMA["$defs"]["Access"]["properties"][name]["additionalProperties"] is False


def test_an_editor_accepts_each_default_and_explains_each_key():
    checked = [(leaf["description"], accepts(leaf, leaf["default"])) for leaf in leaves()]
    assert len(checked) == len(KEYS) + sum(len(kind.model_fields) for kind in ENTRIES.values() if kind)
    assert all(description and accepted for description, accepted in checked)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("KeepAlive", "min", "5"),
        ("KeepAlive", "min", 5),
        ("Memory", "budget", "22G"),
        ("Memory", "max_models", "3"),
        ("Server", "listen", "localhost"),
        ("Log", "level", "loud"),
        ("Model", "pin", "yes"),
    ],
)
def test_an_editor_refuses_what_keepwarm_refuses(section, key, value):
    assert not accepts(SCHEMA["$defs"][section]["properties"][key], value)


def test_the_reference_names_every_key_and_every_variable():
    table = reference()
    assert all(f"| `{'.'.join(path)}` |" in table for path in KEYS)
    assert all(f"| `{name}` |" in table for name in VARIABLES)
