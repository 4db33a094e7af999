"""Whatever the JSON object: a reader like Go's finds our num_ctx in its options, and no other byte has changed."""

import json

from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.effects import KeepAlive
from proxy.domain.model import Endpoint
from proxy.upstream.body import ModelBody
from tests.property.go_reader import Number, go_fold, options_as_go_reads, with_keep_alive, with_num_ctx
from tests.property.test_body_keep_alive import NATIVE, SPACE, VALUES, escaped, spellings

OURS = st.integers(1, 10**9)
OPTION_KEYS = st.sampled_from(["num_ctx", "num_ctx", "NUM_CTX", "num" + escaped("_") + "ctx", "temperature", "stop"])
KEYS = st.just("options") | spellings("options") | st.sampled_from(["keep_alive", "messages", "x"])


def text_of(value: object) -> st.SearchStrategy[str]:
    return st.tuples(st.booleans(), st.sampled_from([None, 1])).map(
        lambda how: json.dumps(value, ensure_ascii=how[0], indent=how[1])
    )


@st.composite
def options(draw: st.DrawFn) -> str:
    """An object with num_ctx in any spelling, repeated, or none at all; now and then null."""
    if draw(st.integers(0, 4)) == 0:
        return "null"
    parts = [
        f'{draw(SPACE)}"{draw(OPTION_KEYS)}"{draw(SPACE)}:{draw(SPACE)}{draw(VALUES.flatmap(text_of))}{draw(SPACE)}'
        for _ in range(draw(st.integers(0, 3)))
    ]
    return "{" + ",".join(parts or [draw(SPACE)]) + "}"


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    parts = []
    for _ in range(draw(st.integers(0, 4))):
        key = draw(KEYS)
        name = go_fold(json.loads(f'"{key}"'))
        value = draw(options() if name == "options" else VALUES.flatmap(text_of))
        parts.append(f'{draw(SPACE)}"{key}"{draw(SPACE)}:{draw(SPACE)}{value}{draw(SPACE)}')
    parts.insert(draw(st.integers(0, len(parts))), draw(SPACE) + '"model":"a"')
    return (draw(SPACE) + "{" + ",".join(parts) + "}" + draw(SPACE)).encode()


@given(bodies(), OURS, NATIVE)
def test_a_reader_like_gos_finds_our_num_ctx_and_all_else_as_it_was(
    before: bytes, num_ctx: int, endpoint: Endpoint
) -> None:
    after = ModelBody(endpoint, before).with_values(KeepAlive.AS_IT_CAME, num_ctx)
    _, others, members = options_as_go_reads(before)
    assert options_as_go_reads(after) == (Number(str(num_ctx)), others, members)
    assert ModelBody(endpoint, after).request.options.num_ctx == num_ctx


@given(bodies(), OURS, NATIVE)
def test_no_byte_changes_outside_the_num_ctx_that_counts(before: bytes, num_ctx: int, endpoint: Endpoint) -> None:
    after = ModelBody(endpoint, before).with_values(KeepAlive.AS_IT_CAME, num_ctx)
    assert after == with_num_ctx(before, str(num_ctx))


@given(bodies(), OURS, OURS, NATIVE)
def test_both_values_are_written_as_if_one_after_the_other(
    before: bytes, keep_alive: int, num_ctx: int, endpoint: Endpoint
) -> None:
    after = ModelBody(endpoint, before).with_values(keep_alive, num_ctx)
    assert after == with_num_ctx(with_keep_alive(before, str(keep_alive)), str(num_ctx))
