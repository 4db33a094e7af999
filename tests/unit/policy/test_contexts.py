import json

import pytest

from proxy.policy import UsageBook, unified
from proxy.policy.contexts import KEPT_SECONDS, Contexts

DAY = 86400.0


def always(_num_ctx):
    return True


def up_to(limit):
    return lambda num_ctx: num_ctx <= limit


# One context for all


def test_the_longest_context_that_was_asked_for_serves_all():
    assert unified(2048, (2048, 8192, 4096), None, always) == 8192


def test_a_context_is_never_shorter_than_asked_for():
    assert unified(16_384, (2048, 8192), None, always) == 16_384
    assert unified(16_384, (2048, 8192), 4096, always) == 16_384
    assert unified(16_384, (), None, up_to(8192)) == 16_384  # though it does not fit: that is what was asked for


def test_what_does_not_fit_is_not_unified_to():
    assert unified(2048, (2048, 4096, 131_072), None, up_to(8192)) == 4096
    assert unified(2048, (2048, 131_072), None, up_to(8192)) == 2048


def test_beside_requests_that_cannot_ask_the_automatic_context_serves_all_who_need_no_more():
    assert unified(2048, (2048, 8192), 4096, always) == 4096
    assert unified(6000, (6000, 8192), 4096, always) == 8192
    assert unified(2048, (2048, 8192), 32_768, up_to(8192)) == 8192  # the automatic one does not fit


# What was asked for lately


def test_contexts_count_for_a_day_after_they_were_asked_for_last():
    contexts = Contexts()
    contexts.add(8192, 0.0)
    contexts.add(2048, DAY / 2)
    contexts.add(None, DAY / 2)
    assert contexts.lately(DAY / 2) == ((2048, 8192), True)
    assert contexts.lately(KEPT_SECONDS) == ((2048,), True)
    assert contexts.lately(2 * DAY) == ((), False)


def test_of_many_contexts_the_last_sixteen_are_kept():
    contexts = Contexts()
    for number in range(1, 40):
        contexts.add(1, float(number))
        contexts.add(number, float(number))
    assert contexts.lately(40.0).num_ctx == (1, *range(25, 40))


def test_a_book_remembers_contexts_over_a_restart_and_reads_statistics_without_them():
    book = UsageBook()
    book.arrived("m", 5.0)
    book.asked_for_context("m", 8192, 5.0)
    book.asked_for_context("m", None, 6.0)
    state = json.loads(json.dumps(book.to_state()))
    assert UsageBook.from_state(state).contexts("m", 7.0) == ((8192,), True)
    del state["models"]["m"]["contexts"]
    assert UsageBook.from_state(state).contexts("m", 7.0) == ((), False)
    assert book.contexts("nobody", 7.0) == ((), False)


@pytest.mark.parametrize("damage", [{"many": 5.0}, {"8192": "yesterday"}])
def test_damaged_contexts_are_refused(damage):
    with pytest.raises(ValueError, match=r"many|8192 must be a finite number"):
        Contexts.from_state(damage)
