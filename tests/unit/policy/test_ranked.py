import pytest

from proxy.policy import Kept, ranked_keep_alive


def kept(model, ttl, loss, *, pinned=False, longest=86400.0):
    return Kept(model, ttl_seconds=ttl, loss_seconds=loss, max_seconds=longest, pinned=pinned)


def test_ttls_that_follow_the_losses_stay_as_they_are():
    assert ranked_keep_alive([kept("a", 300, 1), kept("b", 900, 2)]) == {"a": 300, "b": 900}


def test_a_higher_loss_is_lifted_just_above_a_lower_one():
    assert ranked_keep_alive([kept("a", 900, 1), kept("b", 300, 2), kept("c", 100, 3)]) == {
        "a": 900,
        "b": 901,
        "c": 902,
    }


def test_pinned_models_are_on_top_and_finite():
    values = ranked_keep_alive([kept("p", 5, 0, pinned=True), kept("q", 5, 9, pinned=True), kept("a", 86400, 100)])
    assert values == {"a": 86400, "p": 86403, "q": 86404}


def test_a_fraction_of_a_second_is_rounded_up_and_zero_is_never_written():
    assert ranked_keep_alive([kept("a", 0.0, 0), kept("b", 4.2, 1)]) == {"a": 1, "b": 5}


def test_equal_losses_follow_their_ttls():
    assert ranked_keep_alive([kept("a", 900, 1), kept("b", 300, 1)]) == {"b": 300, "a": 900}


def test_nobody_resident_nothing_ranked():
    assert ranked_keep_alive([]) == {}


def test_an_endless_ttl_is_refused():
    with pytest.raises(OverflowError, match="cannot convert float infinity to integer"):
        ranked_keep_alive([kept("a", float("inf"), 1)])
