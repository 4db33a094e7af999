"""Whatever the JSON object: a reader like Go's finds our keep_alive in it, and no other byte has changed."""

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.effects import KeepAlive
from proxy.domain.model import Endpoint
from proxy.upstream.body import ModelBody

Pairs = list[tuple[str, Any]]
NATIVE = st.sampled_from([endpoint for endpoint in Endpoint if endpoint.carries_keep_alive])
OURS = st.integers(-1, 10**9)


def escaped(letter: str) -> str:
    return f"\\u{ord(letter):04x}"


def one_of_its_spellings(letter: str) -> st.SearchStrategy[str]:
    """A letter as it may be written within a JSON key, for a reader that folds as Go does."""
    folds = {letter.lower(), letter.upper(), *{"k": "\u212a", "s": "\u017f"}.get(letter, "")}
    return st.sampled_from(sorted(folds | {escaped(fold) for fold in folds}))


def spellings(key: str) -> st.SearchStrategy[str]:
    return st.tuples(*map(one_of_its_spellings, key)).map("".join)


def go_fold(key: str) -> str:
    return key.replace("\u017f", "s").replace("\u212a", "k").lower()


SPACE = st.text(" \t\r\n", max_size=2)
KEEP_ALIVE_KEY = st.just("keep_alive") | spellings("keep_alive")
OTHER_KEYS = st.sampled_from(["options", "messages", "tools", "prompt", "stream", "keep-alive", "x"]) | st.text(
    max_size=5
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ['"', "\\", '\\"', '"keep_alive":1', "}", "{", "]", ",", '{"keep_alive":0}', "\\\\"]
)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(10**18, 10**30)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["keep_alive", "KEEP_ALIVE", "model", "a"]) | TEXTS, inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def members(draw: st.DrawFn) -> str:
    """One member of an object as text, with white space anywhere; often a keep_alive."""
    value = json.dumps(draw(VALUES), ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    if draw(st.booleans()):
        key = '"' + draw(KEEP_ALIVE_KEY) + '"'
    else:
        key = json.dumps(draw(OTHER_KEYS.filter(lambda key: go_fold(key) not in {"keep_alive", "model"})))
    return draw(SPACE) + key + draw(SPACE) + ":" + draw(SPACE) + value + draw(SPACE)


@st.composite
def bodies(draw: st.DrawFn) -> str:
    parts = draw(st.lists(members(), max_size=6))
    parts.insert(draw(st.integers(0, len(parts))), draw(SPACE) + '"model":"a"')
    return draw(SPACE) + "{" + ",".join(parts) + "}" + draw(SPACE)


def as_go_reads(content: bytes) -> tuple[Any, Pairs]:
    """What encoding/json finds for keep_alive (the last of the keys that fold to it wins), and all other members."""
    pairs: Pairs = json.JSONDecoder(object_pairs_hook=list).decode(content.decode())
    keep_alive = None
    for key, value in pairs:
        if go_fold(key) == "keep_alive":
            keep_alive = value
    return keep_alive, [pair for pair in pairs if go_fold(pair[0]) != "keep_alive"]


def behind(pattern: str, text: str, at: int) -> int:
    found = re.compile(pattern).match(text, at)
    assert found
    return found.end()


def without_keep_alive(content: bytes) -> list[str]:
    """The text between the values of keep_alive: what must not change. Found by the standard library's own scanner."""
    text, done = content.decode(), 0
    kept: list[str] = []
    scan, at = json.JSONDecoder().raw_decode, text.index("{") + 1
    while True:
        start = behind(r"[\s,]*", text, at)
        if text[start] == "}":
            return [*kept, text[done:]]
        key, key_end = scan(text, start)
        value_start = behind(r"\s*:\s*", text, key_end)
        _, at = scan(text, value_start)
        if go_fold(key) == "keep_alive":
            kept.append(text[done:value_start])
            done = at


@given(bodies(), OURS, NATIVE)
def test_a_reader_like_gos_finds_our_keep_alive_and_all_else_as_it_was(
    text: str, keep_alive: int, endpoint: Endpoint
) -> None:
    before = text.encode()
    after = ModelBody(endpoint, before).with_keep_alive(keep_alive)
    assert as_go_reads(after) == (keep_alive, as_go_reads(before)[1])


@given(bodies(), OURS, NATIVE)
def test_no_byte_changes_outside_the_values_of_keep_alive(text: str, keep_alive: int, endpoint: Endpoint) -> None:
    before = text.encode()
    after = ModelBody(endpoint, before).with_keep_alive(keep_alive)
    kept = without_keep_alive(before)
    if len(kept) > 1:
        assert after == str(keep_alive).join(kept).encode()
    else:
        end = before.rindex(b"}")
        assert after == before[:end] + b',"keep_alive":%d' % keep_alive + before[end:]


@given(bodies(), NATIVE)
def test_a_withheld_keep_alive_reads_as_absent_and_changes_no_other_byte(text: str, endpoint: Endpoint) -> None:
    before = text.encode()
    after = ModelBody(endpoint, before).with_keep_alive(KeepAlive.WITHHELD)
    assert as_go_reads(after) == (None, as_go_reads(before)[1])
    assert after == "null".join(without_keep_alive(before)).encode()


@given(bodies(), st.sampled_from(Endpoint))
def test_as_it_came_is_as_it_came(text: str, endpoint: Endpoint) -> None:
    assert ModelBody(endpoint, text.encode()).with_keep_alive(KeepAlive.AS_IT_CAME) == text.encode()


@given(
    st.binary(max_size=60)
    | bodies().map(str.encode).flatmap(lambda body: st.integers(0, 200).map(lambda at: body[:at]))
)
def test_any_bytes_are_read_or_refused_and_nothing_else(content: bytes) -> None:
    try:
        body = ModelBody(Endpoint.CHAT, content)
    except ValueError:
        return
    assert as_go_reads(body.with_keep_alive(7))[0] == 7
