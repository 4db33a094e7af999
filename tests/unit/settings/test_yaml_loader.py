"""YAML without surprises: every key with its place, nothing guessed, nothing silently overridden."""

import pytest

from proxy.settings.errors import Place, SettingsError
from proxy.settings.yaml_loader import SIZE_LIMIT_BYTES, dotted, parse, read_text, resolve


def problems_of(text):
    with pytest.raises(SettingsError) as caught:
        parse(text, "f.yaml")
    return caught.value.problems


def test_every_key_has_its_line_and_column():
    document = parse("policy: lru\n\nmodels:\n  'qwen*':\n    pin: true\n", "f.yaml")
    assert document.data == {"policy": "lru", "models": {"qwen*": {"pin": True}}}
    assert document.places[("models", "qwen*", "pin")] == Place("f.yaml", 5, 5)
    assert document.places[("models", "qwen*")] == Place("f.yaml", 4, 3)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("5", 5),
        ("-5", -5),
        ("0", 0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-2.5e-1", -0.25),
    ],
)
def test_plain_values_are_read_as_what_they_look_like(text, value):
    assert parse(f"key: {text}\n", "f.yaml").data == {"key": value}
    assert resolve(text) == value


@pytest.mark.parametrize(
    "text",
    ["on", "yes", "No", "True", "1:30", "010", "0x10", "1_000", ".inf", ".nan", "2026-01-01", "=", "5m", "9" * 30],
)
def test_nothing_else_is_guessed_from_how_a_text_looks(text):
    assert parse(f"key: {text}\n", "f.yaml").data == {"key": text}
    assert resolve(text) == text


def test_what_stands_in_quotes_is_text_and_a_key_is_always_text():
    assert parse("'1': '5'\ntrue: \"null\"\n", "f.yaml").data == {"1": "5", "true": "null"}


def test_a_duplicate_key_is_a_problem_with_its_line_and_the_first_value_is_kept():
    document = parse("a:\n  b: 1\n  b: 2\n", "f.yaml")
    assert [str(problem) for problem in document.problems] == [
        "f.yaml:3:3: a.b: duplicate key, it stands in line 2 already"
    ]
    assert document.data == {"a": {"b": 1}}


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "null\n", "\n\n"])
def test_a_file_that_says_nothing_is_an_empty_mapping(text):
    assert parse(text, "f.yaml").data == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- a\n", "f.yaml:1:1: expected 'key: value' lines"),
        ("just text\n", "f.yaml:1:1: expected 'key: value' lines"),
        ("a:\n\tb: 1\n", "f.yaml:2:1: expected spaces (got a tab)"),
        ("a: 1\n---\nb: 1\n", "f.yaml:2:1: expected one document"),
        ("a: &x 1\n", "f.yaml:1:4: anchors and aliases are not used here"),
        ("a: *x\n", "f.yaml:1:4: anchors and aliases are not used here"),
        ("*:70b:\n", "f.yaml:1:2: anchors and aliases are not used here; a text that begins with '*'"),
        ("a: !!python/object/apply:os.system [ls]\n", "f.yaml:1:4: tags ('!…') are not used here"),
        ("? [a]\n: 1\n", "f.yaml:1:3: expected a key of one word"),
        ("a: [\n", "f.yaml:2:1: expected YAML while parsing a flow node"),
        ("a: b: c\n", "f.yaml:1:5: mapping values are not allowed here"),
        ("a: 'x\n", "f.yaml:2:1: expected YAML while scanning a quoted scalar"),
        ("ab: 1\nb: \x01\n", "f.yaml:2:4: expected printable text (got character 0x0001)"),
        ("a: " + "[" * 100_000, "f.yaml:1:23: nested too deeply"),
    ],
)
def test_what_is_no_plain_yaml_mapping_is_refused_at_its_place(text, problem):
    (found,) = problems_of(text)
    assert found.startswith(problem)


def test_a_merge_key_is_a_key_like_any_other():
    assert parse("a:\n  <<: {b: 1}\n", "f.yaml").data == {"a": {"<<": {"b": 1}}}


def test_a_list_is_kept_to_be_refused_by_the_schema():
    assert parse("a: [1, {b: 2}]\n", "f.yaml").data == {"a": [1, {"b": 2}]}


def test_reading_drops_a_byte_order_mark_and_keeps_umlauts(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + "# grün\npolicy: lru\r\n".encode())
    assert parse(read_text(path), "f.yaml").data == {"policy": "lru"}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a: 1\nb: \xff\n", ":2:4: expected UTF-8 text (got byte 0xff)"),
        (b" " * (SIZE_LIMIT_BYTES + 1), ": expected at most 1 MiB of settings"),
    ],
)
def test_a_file_that_is_no_text_or_too_large_is_refused(tmp_path, content, problem):
    path = tmp_path / "f.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        read_text(path)
    assert caught.value.problems == (f"{path}{problem}",)


@pytest.mark.parametrize(("name", "reason"), [("absent.yaml", "No such file or directory"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path, name, reason):
    with pytest.raises(SettingsError, match=f"cannot be read: {reason}"):
        read_text(tmp_path / name)


def test_a_path_puts_quotes_around_what_is_no_plain_word():
    assert dotted(("models", "qwen*", "pin")) == 'models."qwen*".pin'
