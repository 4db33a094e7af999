import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.settings.edit import UneditableError, as_yaml, changed, replace_file
from proxy.settings.errors import SettingsError
from proxy.settings.yaml_loader import parse

PRICE = ("memory", "price")


def test_a_value_is_replaced_and_its_comment_stays():
    text = "# mine\nmemory:\n  price: 5ms  # cheap\n  budget: auto\npolicy: adaptive\n"
    assert changed(text, {PRICE: "50ms"}) == text.replace("5ms", "50ms")


@pytest.mark.parametrize("value", ["'5ms'", '"5ms"', "5ms", "0"])
def test_quotes_go_with_the_value(value):
    assert changed(f"memory:\n  price: {value} # x\n", {PRICE: "50ms"}) == "memory:\n  price: 50ms # x\n"


def test_a_key_without_a_value_gets_one():
    assert changed("memory:\n  price: # none\n", {PRICE: "50ms"}) == "memory:\n  price: 50ms # none\n"


def test_a_missing_key_comes_first_in_its_section_as_far_in_as_the_others():
    text = "memory: # GPU\n    # how much\n    budget: auto\n"
    assert changed(text, {PRICE: "50ms"}) == "memory: # GPU\n    price: 50ms\n    # how much\n    budget: auto\n"


def test_an_empty_section_gets_the_key():
    assert changed("memory:\npolicy: lru\n", {PRICE: "50ms"}) == "memory:\n  price: 50ms\npolicy: lru\n"
    assert changed("memory:", {PRICE: "50ms"}) == "memory:\n  price: 50ms\n"


def test_a_missing_section_comes_last():
    assert changed("policy: lru", {PRICE: "50ms"}) == "policy: lru\nmemory:\n  price: 50ms\n"
    assert changed("", {PRICE: "50ms"}) == "memory:\n  price: 50ms\n"
    assert changed("# nothing yet\n", {PRICE: "50ms"}) == "# nothing yet\nmemory:\n  price: 50ms\n"


def test_several_values_and_a_model_at_once():
    text = "models:\n  # a comment\n  llama3.2:\n    min: 5m\n"
    new = changed(text, {("models", "qwen3:8b", "pin"): True, ("memory", "max_models"): 6, PRICE: "50ms"})
    assert new == (
        "models:\n  qwen3:8b:\n    pin: true\n  # a comment\n  llama3.2:\n    min: 5m\n"
        "memory:\n  price: 50ms\n  max_models: 6\n"
    )


def test_line_ends_of_windows_stay():
    assert changed("memory:\r\n  budget: auto\r\n", {PRICE: "50ms"}) == (
        "memory:\r\n  price: 50ms\r\n  budget: auto\r\n"
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("memory: {budget: auto}\n", "written in braces"),
        ("memory:\n  price: >\n    5ms\n", "goes over several lines"),
        ("memory:\n  price: [1]\n", "is no single value"),
        ("memory: 5\n", "the result would be no YAML"),
        ("{policy: lru}\n", "the result would be no YAML"),
    ],
)
def test_what_cannot_be_changed_in_place_is_refused(text, why):
    with pytest.raises(UneditableError, match=why):
        changed(text, {PRICE: "50ms"})


def test_what_is_no_yaml_is_refused():
    with pytest.raises((SettingsError, UneditableError)):
        changed("memory: 'open\n", {PRICE: "50ms"})


def test_lines_to_paste():
    assert as_yaml({PRICE: "50ms", ("models", "a:b", "pin"): True}) == (
        "memory:\n  price: 50ms\nmodels:\n  a:b:\n    pin: true\n"
    )


LINES = Path("config/keepwarm.yaml").read_text(encoding="utf-8").splitlines(keepends=True)


@given(st.sets(st.integers(0, len(LINES) - 1)), st.sampled_from(["0", "50ms", "1h30m"]))
def test_whatever_lines_are_missing_the_rest_stays_or_it_is_refused(missing, price):
    text = "".join(line for number, line in enumerate(LINES) if number not in missing)
    try:
        before = parse(text, "x")
        new = changed(text, {PRICE: price, ("memory", "max_models"): 7})
    except (SettingsError, UneditableError):
        return
    after = parse(new, "x").data
    assert after["memory"].pop("price") == price
    assert after["memory"].pop("max_models") == 7
    for key in ("price", "max_models"):
        (before.data.get("memory") or {}).pop(key, None)
    assert {k: v for k, v in after.items() if k != "memory"} == {k: v for k, v in before.data.items() if k != "memory"}
    comments = [line for line in text.splitlines() if line.lstrip().startswith("#")]
    assert [line for line in new.splitlines() if line.lstrip().startswith("#")] == comments


def test_the_whole_file_that_comes_with_keepwarm_can_be_changed():
    text = "".join(LINES)
    assert changed(text, {PRICE: "50ms"}) == text.replace("price: 5ms", "price: 50ms")


def test_a_file_is_replaced_with_its_permissions_and_through_a_link(tmp_path):
    real, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    real.write_text("policy: lru\n")
    real.chmod(0o640)
    link.symlink_to(real)
    replace_file(link, "policy: fixed\r\n")
    assert real.read_bytes() == b"policy: fixed\r\n"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert link.is_symlink()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link.yaml", "real.yaml"]


def test_a_file_that_is_not_there_is_made(tmp_path):
    replace_file(tmp_path / "new" / "keepwarm.yaml", "policy: lru\n")
    assert (tmp_path / "new" / "keepwarm.yaml").read_text() == "policy: lru\n"
