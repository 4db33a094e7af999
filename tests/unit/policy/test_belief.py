import pytest

from proxy.policy.belief import DRAIN_WEIGHT, PINNED_LOSS_SECONDS, Belief, bits, doubt
from tests.unit.policy.values import GIB, memory, resident


def ranked(belief):
    return [resident.model for resident in belief.residents]


def test_residents_are_ranked_by_loss_then_by_oldest_use_then_by_name_and_pins_come_last():
    residents = (
        resident("pinned", loss=0, pinned=True),
        resident("dear", loss=9),
        resident("a-late", loss=1, used_at=20),
        resident("b", loss=1, used_at=10),
        resident("a", loss=1, used_at=10),
    )
    belief = Belief(memory(*residents))
    assert ranked(belief) == ["a", "b", "a-late", "dear", "pinned"]
    assert belief.losses[-1] == PINNED_LOSS_SECONDS
    assert belief.free_to_leave == 0b01111


def test_what_a_busy_resident_still_has_to_serve_counts_as_loss_for_all_who_wait():
    belief = Belief(memory(resident("busy", loss=1, remaining=5), resident("idle", loss=2)))
    assert ranked(belief) == ["idle", "busy"]
    assert belief.losses == (2, 1 + DRAIN_WEIGHT * 5)
    assert belief.idle == 0b01


def test_bits_are_the_indices_of_a_set():
    assert list(bits(0b10110)) == [1, 2, 4]


def test_the_plain_rule_asks_for_eighty_percent_of_what_is_free():
    belief = Belief(memory(resident("a", gib=4), budget_gib=24))
    assert belief.allows(0b1, 16 * GIB)
    assert not belief.allows(0b1, 16 * GIB + 1)


def test_the_plain_rule_bounds_the_number_of_models():
    belief = Belief(memory(resident("a", gib=1), resident("b", gib=1), max_models=2))
    assert not belief.allows(0b11, GIB)
    assert belief.allows(0b01, GIB)


def test_a_model_alone_is_always_let_in():
    assert Belief(memory(resident("a"), budget_gib=24)).allows(0, 100 * GIB)


def test_without_a_budget_only_the_number_of_models_binds_and_nobody_doubts():
    belief = Belief(memory(resident("a", believed_gib=None), budget_gib=None, max_models=2))
    assert belief.allows(0b1, 500 * GIB)
    assert belief.believers(500 * GIB) == 0b1


def test_each_resident_is_as_likely_to_be_asked_as_any_other():
    # The example of OLLAMA.md 16: 15 GiB were free when the 9.0 had loaded, 10.3 after the 4.7; 9.1 are wanted.
    belief = Belief(memory(resident("9.0", 9.0, believed_gib=15, loss=2), resident("4.7", 4.7, believed_gib=10.3)))
    assert belief.believers(round(9.1 * GIB)) == 0b10
    assert doubt(0b11, 0b10) == 0.5
    assert doubt(0b01, 0b10) == 1.0
    assert doubt(0, 0b10) == 0.0


def test_a_resident_whose_belief_is_unknown_is_taken_to_see_nothing_free():
    belief = Belief(memory(resident("foreign", believed_gib=None)))
    assert belief.believers(1) == 0


def test_the_last_resident_leaves_in_four_tenths_of_a_second():
    assert Belief(memory(resident("a"))).wait_seconds(0, 0b1) == 0.4


@pytest.mark.parametrize(
    ("other_gib", "wait"),
    [
        (9.9, 5 - 4.75 / 2),  # less than the one that leaves: an underflow, asked first in one of two cases
        (10.0, 5.0),
        (13.0, 5.0),  # more by 75 % of its 4 GiB, not by more than that
        (13.1, 5 - 4.75 / 2),
    ],
)
def test_the_pause_is_short_when_the_next_answer_differs_enough(other_gib, wait):
    leaving, other = resident("leaving", 4, believed_gib=10, loss=1), resident("other", believed_gib=other_gib, loss=2)
    assert Belief(memory(leaving, other)).wait_seconds(0, 0b11) == pytest.approx(wait)


def test_only_residents_that_are_still_loaded_can_shorten_the_pause():
    residents = [resident("leaving", believed_gib=10, loss=1)]
    residents += [resident(model, believed_gib=believed, loss=2) for model, believed in (("b", 5), ("c", 10))]
    belief = Belief(memory(*residents))
    # of three, one in three is asked first, and then one of the two others shortens the pause
    assert belief.wait_seconds(0, 0b111) == pytest.approx(5 - 4.75 / 3 / 2)
    assert belief.wait_seconds(0, 0b101) == 5.0


def test_an_unknown_belief_promises_no_short_pause():
    unknown = Belief(memory(resident("a", believed_gib=None, loss=1), resident("b", believed_gib=3, loss=2)))
    assert unknown.wait_seconds(0, 0b11) == 5.0
    assert unknown.wait_seconds(1, 0b11) == 5.0
