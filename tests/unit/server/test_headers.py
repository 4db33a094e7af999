"""Which headers travel from one connection to the next."""

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from proxy.server.headers import end_to_end

Pairs = list[tuple[str, str]]


def kept(*headers: tuple[str, str], dropped: tuple[str, ...] = ()) -> Pairs:
    return list(end_to_end(CIMultiDictProxy(CIMultiDict(headers)), *dropped).items())


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "UPGRADE",
    ],
)
def test_a_header_of_one_connection_stays_there(name: str) -> None:
    assert kept((name, "x"), ("X-End", "1")) == [("X-End", "1")]


def test_what_connection_names_stays_there_too() -> None:
    headers = (("connection", "close, X-Hop ,, x-OTHER"), ("x-hop", "1"), ("X-Other", "2"), ("X-End", "3"))
    assert kept(*headers, ("Connection", "X-Second"), ("x-second", "4"), ("X-Hop", "5")) == [("X-End", "3")]


def test_repeated_headers_keep_their_order_and_spelling() -> None:
    headers = (("Set-Cookie", "a=1"), ("X-A", ""), ("set-cookie", "b=2"), ("X-a", "ü, b"), ("Set-Cookie", "a=1"))
    assert kept(*headers) == list(headers)


def test_the_caller_names_what_else_to_drop() -> None:
    assert kept(("Host", "a"), ("HOST", "b"), ("Origin", "c"), dropped=("host",)) == [("Origin", "c")]


def test_nothing_in_nothing_out() -> None:
    assert kept() == []
