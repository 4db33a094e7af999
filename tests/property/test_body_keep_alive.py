"""Whatever the JSON object: a reader like Go's finds our keep_alive in it, and no other byte has changed."""

import json

from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.effects import KeepAlive
from proxy.domain.model import Endpoint
from proxy.upstream.body import ModelBody
from tests.property.go_reader import Number, as_go_reads, go_fold, judge, with_keep_alive

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

PIECES = ('"', "\\", '\\"', "\\u", "\\ud83d", *"{}[],: \0\xff-", "1e9", "null")
DAMAGE = [piece.encode("latin-1") for piece in PIECES]


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


@given(bodies(), OURS, NATIVE)
def test_a_reader_like_gos_finds_our_keep_alive_and_all_else_as_it_was(
    text: str, keep_alive: int, endpoint: Endpoint
) -> None:
    before = text.encode()
    after = ModelBody(endpoint, before).with_values(keep_alive)
    assert as_go_reads(after) == (Number(str(keep_alive)), as_go_reads(before)[1])


@given(bodies(), OURS, NATIVE)
def test_no_byte_changes_outside_the_values_of_keep_alive(text: str, keep_alive: int, endpoint: Endpoint) -> None:
    before = text.encode()
    assert ModelBody(endpoint, before).with_values(keep_alive) == with_keep_alive(before, str(keep_alive))


@given(bodies(), NATIVE)
def test_a_withheld_keep_alive_reads_as_absent_and_changes_no_other_byte(text: str, endpoint: Endpoint) -> None:
    before = text.encode()
    after = ModelBody(endpoint, before).with_values(KeepAlive.WITHHELD)
    assert as_go_reads(after) == (None, as_go_reads(before)[1])
    assert after == with_keep_alive(before, "null")


@given(bodies(), st.sampled_from(Endpoint))
def test_as_it_came_is_as_it_came(text: str, endpoint: Endpoint) -> None:
    assert ModelBody(endpoint, text.encode()).with_values(KeepAlive.AS_IT_CAME) == text.encode()


@given(bodies(), OURS, st.sampled_from(Endpoint))
def test_every_model_request_is_taken_for_one(text: str, keep_alive: int, endpoint: Endpoint) -> None:
    assert judge(endpoint, text.encode(), keep_alive)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A body of which a few bytes are gone, doubled or others."""
    content = bytearray(draw(bodies()).encode())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(content)))
        count = draw(st.integers(0, 3))
        content[at : at + count] = draw(st.sampled_from(DAMAGE) | st.binary(max_size=3))
    return bytes(content)


@given(st.binary(max_size=60) | damaged(), OURS, st.sampled_from(Endpoint))
def test_any_bytes_are_read_as_go_reads_them_or_refused(content: bytes, keep_alive: int, endpoint: Endpoint) -> None:
    judge(endpoint, content, keep_alive)
