"""Bodies that are long or deep: harmless, and read in a time that grows with their length only."""

import sys
import time
import tracemalloc
from typing import Any

import pytest

from proxy.domain.model import Endpoint
from proxy.upstream.body import ModelBody

LOOKED_UP = (b'{"model":"a","x":', b"}")
SCANNED = (b'{"model":"a","model":"a","x":', b',"x":1}')
"""Of repeated keys, where that matters, all values but the last are scanned."""
ALIKE = pytest.mark.parametrize("around", [LOOKED_UP, SCANNED], ids=["looked-up", "scanned"])


@ALIKE
@pytest.mark.parametrize("pair", [(b"[", b"]"), (b'{"x":', b"}"), (b'[{"model":', b"}]")], ids=["[", "{", "[{"])
@pytest.mark.parametrize("depth", [100, 900, 5_000, 200_000])
def test_deep_nesting_is_harmless(depth: int, pair: tuple[bytes, bytes], around: tuple[bytes, bytes]) -> None:
    content = around[0] + pair[0] * depth + b"1" + pair[1] * depth + around[1]
    try:
        body = ModelBody(Endpoint.CHAT, content)
    except ValueError:
        assert depth > 400  # passes as it came
    else:
        assert body.with_values(1) == content[:-1] + b',"keep_alive":1}'


def seconds_for(content: bytes) -> float:
    began = time.process_time()
    assert ModelBody(Endpoint.CHAT, content).with_values(300) == content[:-1] + b',"keep_alive":300}'
    return time.process_time() - began


@ALIKE
def test_a_text_of_100_megabytes_is_harmless(around: tuple[bytes, bytes]) -> None:
    content = around[0] + b'"' + b"base64+/" * (100 * 2**20 // 8) + b'"' + around[1]
    tracemalloc.start()
    try:
        assert len(ModelBody(Endpoint.CHAT, content).with_values(300)) == len(content) + len(',"keep_alive":300')
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most_bytes < 3 * len(content)  # beside the body itself; it is copied where keep_alive is added


@pytest.mark.parametrize(
    "piece", [b'\\"', b"\\\\", b"{", b"\\\\\\\\\\\\\\\\"], ids=["quotes", "backslashes", "braces", "run"]
)
def test_the_time_grows_with_the_length_only(piece: bytes) -> None:
    def content(pieces: int) -> bytes:
        return b'{"model":"a","prompt":"' + piece * pieces + b'"}'

    short = min(seconds_for(content(2**16)) for _ in range(3))
    long = min(seconds_for(content(2**19)) for _ in range(2))
    assert long < 24 * max(short, 0.001)  # 8 times as long; a quadratic scan would take 64 times


def calls_for(content: bytes) -> int:
    """Count the calls of functions, Python's and C's, while the body is read and written."""
    calls = 0

    def count(_frame: Any, event: str, _function: Any) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        ModelBody(Endpoint.CHAT, content).with_values(300)
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize(
    "member", [b',"x":[1,{"y":"z"}]', b',"keep_alive":1', b',"KEEP_ALIVE":{}', b',"\\u0078":"\\""', b',"options":{}']
)
def test_the_work_grows_with_the_number_of_members_only(member: bytes) -> None:
    few, many = (calls_for(b'{"model":"a"' + member * members + b"}") for members in (2**9, 2**12))
    assert many < 9 * few  # 8 times as many


def test_a_body_of_many_members_takes_linear_time() -> None:
    def content(members: int) -> bytes:
        return b'{"model":"a"' + b',"x":[1,{"y":"z"}]' * members + b"}"

    short = min(seconds_for(content(2**12)) for _ in range(3))
    long = seconds_for(content(2**15))
    assert long < 24 * short
