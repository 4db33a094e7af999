from proxy.policy import Need
from proxy.policy.reasons import leaving, no_room
from tests.unit.policy.values import GIB, memory, resident

NEED = Need("new", 5 * GIB)


def test_every_victim_is_named_with_its_numbers():
    gone = [resident("gemma3:4b", loss=0.4, load=1.3, idle=720), resident("b", loss=2, load=9, idle=5)]
    assert leaving(memory(*gone), NEED, gone) == (
        "gemma3:4b leaves: expected loss 400ms, reload 1.3s, idle 12m; b leaves: expected loss 2s, reload 9s, idle 5s"
    )


def test_without_victims_the_reason_says_what_is_free():
    assert leaving(memory(resident("a")), NEED, []) == (
        "nobody leaves: 1 of at most 3 models loaded, 20GiB of 24GiB free, 5GiB wanted"
    )


def test_without_a_budget_the_reason_counts_models_only():
    assert leaving(memory(budget_gib=None), NEED, []) == "nobody leaves: 0 of at most 3 models loaded, 5GiB wanted"


def test_a_reason_for_no_room_names_the_pins():
    full = memory(resident("b", 14, pinned=True), resident("a", 14, pinned=True), resident("c", 1))
    assert no_room(full, NEED) == (
        "no room for new (5GiB): 3 of at most 3 models loaded, 0B of 24GiB free, pinned: a, b"
    )
