"""Bodies that are long or deep: harmless, and read in a time that grows with their length only."""

import time

import pytest

from proxy.domain.model import Endpoint
from proxy.upstream.body import ModelBody


@pytest.mark.parametrize("depth", [100, 900, 5_000, 200_000])
def test_deep_nesting_is_harmless(depth: int) -> None:
    content = b'{"model":"a","x":' + b"[" * depth + b"]" * depth + b"}"
    try:
        body = ModelBody(Endpoint.CHAT, content)
    except ValueError:
        assert depth > 500  # passes as it came
    else:
        assert body.with_keep_alive(1) == content[:-1] + b',"keep_alive":1}'


def seconds_for(content: bytes) -> float:
    began = time.process_time()
    assert ModelBody(Endpoint.CHAT, content).with_keep_alive(300) == content[:-1] + b',"keep_alive":300}'
    return time.process_time() - began


def test_a_text_of_50_megabytes_takes_less_than_a_second() -> None:
    content = b'{"model":"a","prompt":"' + b"base64+/" * (50 * 2**20 // 8) + b'"}'
    assert seconds_for(content) < 1


@pytest.mark.parametrize(
    "piece", [b'\\"', b"\\\\", b"{", b"\\\\\\\\\\\\\\\\"], ids=["quotes", "backslashes", "braces", "run"]
)
def test_the_time_grows_with_the_length_only(piece: bytes) -> None:
    def content(pieces: int) -> bytes:
        return b'{"model":"a","prompt":"' + piece * pieces + b'"}'

    short = min(seconds_for(content(2**16)) for _ in range(3))
    long = min(seconds_for(content(2**19)) for _ in range(2))
    assert long < 24 * max(short, 0.001)  # 8 times as long; a quadratic scan would take 64 times


def test_a_body_of_many_members_takes_linear_time() -> None:
    def content(members: int) -> bytes:
        return b'{"model":"a"' + b',"x":[1,{"y":"z"}]' * members + b"}"

    short = min(seconds_for(content(2**12)) for _ in range(3))
    long = seconds_for(content(2**15))
    assert long < 24 * short
