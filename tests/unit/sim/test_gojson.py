"""Bodies as Go reads them (OLLAMA.md 5)."""

from __future__ import annotations

import pytest

from proxy.sim.gojson import BadBodyError, decode, keep_alive_seconds
from proxy.sim.models import FOREVER_SECONDS

FIELDS: dict[str, type] = {"model": str, "keep_alive": object, "options": dict, "stream": bool, "count": int}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ('{"model":"a","other":1}', {"model": "a"}),
        ('{"MODEL":"a","Model":"b"}', {"model": "b"}),
        ('{"model":"a","Model":"b","model":"c"}', {"model": "c"}),
        ('{"\u017ftream":true}', {"stream": True}),
        ('{"model":"a","model":null}', {"model": "a"}),
        ('{"keep_alive":5,"keep_alive":null}', {}),
        ('{"options":{"a":1},"options":{"b":2}}', {"options": {"a": 1, "b": 2}}),
        ('{"options":{"Model":"x"},"model":"a"}', {"options": {"Model": "x"}, "model": "a"}),
        ('  {"model":"a"} and more', {"model": "a"}),
        ("null", {}),
    ],
)
def test_known_fields_are_read_in_any_case_and_the_last_one_wins(body: str, fields: dict[str, object]) -> None:
    assert decode(body.encode(), "api.ChatRequest", FIELDS) == fields


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("", "EOF"),
        ("{", "unexpected EOF"),
        ('{"model":"a', "unexpected EOF"),
        ("<html>", "invalid character '<' looking for beginning of value"),
        ('{"model":NaN}', "invalid character 'N' looking for beginning of value"),
        ("[]", "json: cannot unmarshal array into Go value of type api.ChatRequest"),
        ("5", "json: cannot unmarshal number into Go value of type api.ChatRequest"),
        ('{"model":5}', "json: cannot unmarshal number into Go struct field ChatRequest.model of type string"),
        ('{"count":true}', "json: cannot unmarshal bool into Go struct field ChatRequest.count of type int"),
        ('{"stream":{}}', "json: cannot unmarshal object into Go struct field ChatRequest.stream of type bool"),
    ],
)
def test_what_cannot_be_read_is_refused_in_the_words_of_go(body: str, text: str) -> None:
    with pytest.raises(BadBodyError) as refused:
        decode(body.encode(), "api.ChatRequest", FIELDS)
    assert str(refused.value) == text


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        (0, 0),
        (2.5, 2.5),
        (-1, FOREVER_SECONDS),
        (1e300, FOREVER_SECONDS),
        ("0", 0),
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        (".5h", 1800),
        ("+90s", 90),
        ("100ms", 0.1),
        ("-1s", FOREVER_SECONDS),
    ],
)
def test_a_keep_alive_is_a_number_of_seconds_or_a_go_duration(value: object, seconds: float | None) -> None:
    assert keep_alive_seconds(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", ["-1", "", "5x", "m", "5m3", "abc", "1h 30m", "-", True, [], {}])
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(BadBodyError):
        keep_alive_seconds(value)
