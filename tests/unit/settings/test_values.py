"""Each kind of value: what it takes, what it refuses, and that an editor sees it the same way."""

import re
from pathlib import Path

import platformdirs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from proxy.settings import values


def read(kind, value):
    return TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    ("kind", "value", "result"),
    [
        (values.Duration, "1h30m", 5400.0),
        (values.Duration, "30d", 2_592_000.0),
        (values.Duration, 0, 0.0),
        (values.Duration, "0", 0.0),
        (values.Size, "22GiB", 22 * 1024**3),
        (values.Size, "0B", 0),
        (values.Budget, "auto", None),
        (values.Budget, "24GB", 24 * 10**9),
        (values.CountOrAuto, "auto", None),
        (values.CountOrAuto, 3, 3),
        (values.Weight, 2, 2.0),
        (values.Switch, False, False),
        (values.Precedence, "at_most", "at_most"),
        (values.StorePath, "/var/lib/usage.sqlite", Path("/var/lib/usage.sqlite")),
        (values.StorePath, "auto", platformdirs.user_state_path("keepwarm") / "usage.sqlite"),
        (values.StorePath, "~/usage.sqlite", Path.home() / "usage.sqlite"),
        (values.UpstreamUrl, "auto", "http://127.0.0.1:11434"),
        (values.TracingEndpoint, "none", None),
        (values.TracingEndpoint, "http://collector:4318/", "http://collector:4318"),
        (values.ModelPattern, "hf.co/me/*:q4_k_m", "hf.co/me/*:q4_k_m"),
    ],
)
def test_a_value_is_read(kind, value, result):
    assert read(kind, value) == result


@pytest.mark.parametrize(
    ("kind", "refused", "expected"),
    [
        (values.Duration, [300, 1.5, "300", "-5m", "5 min", "", None, True, False, ["5m"]], "a duration such as '90s'"),
        (values.PositiveDuration, [0, "0", "0s", "-1s"], "at least 1ms"),
        (values.PollingInterval, ["99ms"], "at least 100ms"),
        (values.Size, [22, "22", "22G", -1, None, True], "a size such as '22GiB'"),
        (values.PositiveSize, ["0B"], "a size above 0B"),
        (values.Budget, ["atuo", 22, None, "0B"], "auto or a size above 0B"),
        (values.Count, [0, -1, 1.0, "3", True, "auto", None], "a whole number of 1 or more"),
        (values.CountOrAuto, [0, "3", None], "auto or a whole number"),
        (values.Weight, [0, -1, float("inf"), float("nan"), "2", True, None], "a number above 0"),
        (values.Switch, ["yes", "on", 1, 0, None], "true or false"),
        (values.PolicyName, ["LRU", "", None, 1, ["lru"]], "one of adaptive, fixed, lru"),
        (values.ListenAddress, [11435, "11435", "localhost", None], "an address to listen on"),
        (values.UpstreamUrl, [11434, "ftp://x", None], "auto or Ollama's address"),
        (
            values.TracingEndpoint,
            ["collector:4318", "ftp://x", "http://a b", "off", None],
            "none or the URL of an OTLP",
        ),
        (values.StorePath, ["", 5, None, "a\0b", "~nobody-of-that-name/x"], "auto or the path of a file"),
        (values.ModelPattern, ["", "a b", "-x", "ä", 5], "a model name"),
    ],
)
def test_another_value_is_refused_with_what_was_expected(kind, refused, expected):
    for value in refused:
        with pytest.raises(ValidationError) as caught:
            read(kind, value)
        assert expected in caught.value.errors()[0]["msg"]


@given(st.from_regex(TypeAdapter(values.Duration).json_schema()["anyOf"][0]["pattern"], alphabet="+.0123456789nuµmshd"))
def test_a_duration_that_an_editor_accepts_is_read_unless_it_is_beyond_292_years(text):
    assume(not text.endswith("\n") and sum(map(int, re.findall("[0-9]+", text))) < 100_000)
    assert read(values.Duration, text) >= 0


@given(st.from_regex(TypeAdapter(values.Size).json_schema()["pattern"], fullmatch=True))
def test_a_size_that_an_editor_accepts_is_read_unless_it_is_beyond_64_bits(text):
    assume(len(text) < 10)
    assert read(values.Size, text) >= 0
