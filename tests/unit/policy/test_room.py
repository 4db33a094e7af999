import pytest

from proxy.policy import Need
from proxy.policy.belief import DRAIN_WEIGHT
from proxy.policy.room import make_room
from tests.unit.policy.values import GIB, memory, resident

SMALL, BIG = Need("new", 4 * GIB), Need("new", 14 * GIB)


def test_nobody_leaves_when_there_is_room():
    room = make_room(memory(resident("a")), SMALL)
    assert (room.victims, room.cost_seconds, room.idle, room.fits) == ((), 0.0, True, True)
    assert room.reason == "nobody leaves: 1 of at most 3 models loaded, 20GiB of 24GiB free, 4GiB wanted"


def test_the_least_loss_leaves_when_any_one_would_make_room():
    residents = [resident(model, loss=loss) for model, loss in (("a", 3), ("b", 1), ("c", 2))]
    room = make_room(memory(*residents), SMALL)
    assert room.victims == ("b",)
    assert room.cost_seconds == pytest.approx(1 + 0.5)  # its loss, and the settling


def test_one_dear_victim_is_better_than_two_whose_unloads_wait_for_each_other():
    cheap = [resident("a", 7, loss=0.5), resident("b", 7, loss=0.5)]
    room = make_room(memory(*cheap, resident("c", 8, loss=3)), Need("new", 8 * GIB))
    # a and b would do at a loss of 1, and at 5 seconds between their unloads
    assert room.victims == ("c",)


def test_the_victim_whose_absence_ollama_believes_in_leaves():
    # OLLAMA.md 16: once the 9.0 has gone, the 4.7 sees 10.3 GiB, too little for 9.1, and would be evicted as well
    first, second = resident("9.0", 9.0, believed_gib=15, loss=1.0), resident("4.7", 4.7, believed_gib=10.3, loss=1.5)
    room = make_room(memory(first, second), Need("9.1", round(9.1 * GIB)))
    assert room.victims == ("4.7",)
    assert room.cost_seconds == pytest.approx(1.5 + 0.5)


def test_what_ollama_would_evict_by_itself_is_counted():
    # it plainly fits, but the only resident does not believe it: Ollama would evict that one and wait 0.4 s
    room = make_room(memory(resident("a", believed_gib=1, loss=1)), SMALL)
    assert room.victims == ()
    assert room.cost_seconds == pytest.approx(1 + 0.4)


def test_an_eviction_by_ollama_also_waits_for_the_rest_of_our_last_pause():
    believer, doubter = resident("a", believed_gib=100, loss=1), resident("b", believed_gib=3, pinned=True)
    room = make_room(memory(believer, doubter, max_models=2), SMALL)
    # a leaves, and its pause (2.625 s, half a second of it spent settling) is over before Ollama can evict b
    assert room.victims == ("a",)
    assert room.cost_seconds - 1e6 == pytest.approx(1 + 0.5 + (2.625 - 0.5) + 0.4, abs=1e-3)


def test_a_victim_that_is_wanted_again_and_does_not_fit_back_costs_seven_seconds_more():
    hot, cold = resident("hot", 10, loss=0.1, chance=1.0), resident("cold", 10, loss=4, chance=0.1)
    room = make_room(memory(hot, cold), Need("new", 10 * GIB))
    assert room.victims == ("cold",)
    assert room.cost_seconds == pytest.approx(4 + 0.5 + 7 * 0.1)


def test_victims_that_each_fit_back_alone_are_priced_jointly():
    # three places, one needed: unloading two looks free victim by victim, but only one of them fits back
    residents = [
        resident(model, 2, believed_gib=believed, loss=0.2, chance=0.9)
        for model, believed in (("a", 9), ("b", 5), ("c", 1))
    ]
    room = make_room(memory(*residents), Need("new", 2 * GIB))
    assert len(room.victims) == 1


def test_the_victim_with_the_largest_belief_is_unloaded_first():
    residents = [resident("a", 10, believed_gib=5), resident("b", 10, believed_gib=14)]
    room = make_room(memory(*residents), Need("new", 23 * GIB))
    assert room.victims == ("b", "a")
    # b is asked first in one of two cases, and then the smaller answer of a ends the pause at once
    assert room.cost_seconds == pytest.approx(2 + 0.5 + (5 - 4.75 / 2))


@pytest.mark.parametrize(("idle_loss", "victim"), [(6.9, "idle"), (7.1, "busy")])
def test_a_busy_victim_costs_three_times_what_it_still_has_to_serve_on_top_of_its_loss(idle_loss, victim):
    residents = [resident("busy", loss=1, remaining=2), resident("idle", loss=idle_loss)]
    room = make_room(memory(*residents, max_models=2), SMALL)
    assert room.victims == (victim,)
    assert room.idle == (victim == "idle")


def test_when_only_busy_models_could_make_room_their_remaining_seconds_are_counted():
    residents = [resident("long", loss=0, remaining=30), resident("short", loss=1, remaining=3)]
    room = make_room(memory(*residents, max_models=2), SMALL)
    assert room.victims == ("short",)
    assert not room.idle
    assert room.cost_seconds == pytest.approx(1 + DRAIN_WEIGHT * 3 + 0.5)
    assert room.reason == "short leaves: expected loss 1s, reload 5s, idle 1m, busy for 3s more"


def test_a_pinned_model_never_leaves_even_if_nobody_else_could_make_room():
    room = make_room(memory(resident("pin", 12, loss=0, pinned=True), resident("a", loss=100)), BIG)
    assert not room.fits
    assert room.victims == ()
    assert room.reason == "no room for new (14GiB): 2 of at most 3 models loaded, 8GiB of 24GiB free, pinned: pin"


def test_the_plan_protects_a_pinned_model_from_ollamas_own_eviction():
    # The pin does not believe. Beside `b`, who does not either, it would be evicted for certain; beside `a`, in half.
    pin = resident("pin", believed_gib=1, pinned=True)
    believer, doubter = resident("a", believed_gib=18, loss=1), resident("b", believed_gib=1, loss=20)
    assert make_room(memory(pin, believer, doubter), SMALL).victims == ("b",)


def test_a_model_bigger_than_the_budget_is_served_alone():
    room = make_room(memory(resident("a"), resident("b", pinned=False)), Need("giant", 30 * GIB))
    assert set(room.victims) == {"a", "b"}
    assert room.fits
    assert room.reason.startswith("giant (30GiB) is bigger than the budget of 24GiB and is served alone; ")


def test_without_a_budget_only_the_number_of_models_binds():
    residents = [resident(model, loss=loss) for model, loss in (("a", 2), ("b", 1))]
    assert make_room(memory(*residents, budget_gib=None, max_models=3), BIG).victims == ()
    assert make_room(memory(*residents, budget_gib=None, max_models=2), BIG).victims == ("b",)


def test_where_ollama_will_evict_everyone_anyway_the_dearest_are_not_unloaded_by_us():
    # nobody's belief is known and two places are needed: every plan costs the same but for rounding (with these losses,
    # 1e-15 s in favour of three victims), since the others go as well
    residents = [resident(f"m{i}", 1, believed_gib=None, loss=loss) for i, loss in enumerate((1.6, 2.5, 1.5, 1.6))]
    room = make_room(memory(*residents), Need("new", GIB))
    assert set(room.victims) == {"m0", "m2"}


def test_of_plans_that_cost_the_same_the_one_with_fewer_victims_is_taken():
    residents = [resident(model, loss=0) for model in "abc"]
    assert make_room(memory(*residents, settle=0), SMALL).victims == ("a",)


def test_with_more_residents_than_can_be_weighed_room_is_still_found():
    residents = [resident(f"m{i:02}", 1.5, loss=float(i)) for i in range(15)]
    room = make_room(memory(*residents, budget_gib=24, max_models=15), Need("new", 18 * GIB))
    # 18 GiB need 22.5 free: all but one have to leave, the dearest stays
    assert set(room.victims) == {f"m{i:02}" for i in range(14)}
