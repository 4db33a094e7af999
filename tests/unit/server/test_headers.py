"""Which headers travel from one connection to the next."""

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from proxy.domain.effects import Forward, KeepAlive, Outcome
from proxy.server.headers import end_to_end, told

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


def test_a_client_is_told_what_its_request_met_how_long_it_waited_and_what_keep_alive_it_got() -> None:
    assert told(Forward(17, Outcome.COLD, 2832, "asked for"), 6.31249) == {
        "X-Keepwarm-Request": "17",
        "X-Keepwarm-Outcome": "cold",
        "X-Keepwarm-Waited": "6.312",
        "X-Keepwarm-Keep-Alive": "2832",
    }
    assert told(Forward(18, Outcome.WARM, KeepAlive.AS_IT_CAME, ""), 0.0)["X-Keepwarm-Keep-Alive"] == "as_it_came"
