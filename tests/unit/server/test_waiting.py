"""One client has only so many requests waiting, whatever the others have."""

from http import HTTPStatus

import pytest

from proxy.server.refused import RefusedError
from proxy.server.waiting import Waiting


def test_one_too_many_is_refused_until_another_one_is_through() -> None:
    waiting = Waiting(lambda: 2)
    with waiting.place("alice"):
        with waiting.place("alice"):
            with pytest.raises(RefusedError, match=r"limits\.waiting") as caught:
                waiting.check("alice")
            waiting.check("bob")
        waiting.check("alice")
    assert caught.value.status == HTTPStatus.TOO_MANY_REQUESTS
    assert int(caught.value.headers["Retry-After"]) >= 1


def test_a_place_is_given_back_whatever_happens() -> None:
    waiting = Waiting(lambda: 1)
    with pytest.raises(KeyError), waiting.place("alice"):
        raise KeyError
    waiting.check("alice")


def test_a_limit_that_is_lowered_counts_at_once() -> None:
    most = [5]
    waiting = Waiting(lambda: most[0])
    with waiting.place("alice"):
        waiting.check("alice")
        most[0] = 1
        with pytest.raises(RefusedError):
            waiting.check("alice")
