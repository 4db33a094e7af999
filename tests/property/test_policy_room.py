"""Making room, for any state of memory."""

from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.policy import Adaptive, Memory, Need, Wanted, policies
from proxy.policy.belief import FILL, Belief
from tests.unit.policy.values import GIB, resident

GIBS = st.integers(1, 200).map(lambda tenths: tenths / 10)
SECONDS = st.integers(0, 400).map(lambda tenths: tenths / 10)
NEEDS = st.integers(1, 300).map(lambda tenths: Need("new", tenths * GIB // 10))


BELIEVED = st.none() | st.integers(0, 24)
PINNED = st.sampled_from((False, False, False, True))
NEVER_PINNED = st.sampled_from((False,))


@st.composite
def memories(draw, *, believed=BELIEVED, pinned=PINNED):
    count = draw(st.integers(0, 5))
    residents = tuple(
        resident(
            f"m{i}",
            draw(GIBS),
            believed_gib=draw(believed),
            loss=draw(SECONDS),
            chance=draw(st.sampled_from((0.0, 0.1, 0.5, 1.0))),
            load=draw(SECONDS),
            remaining=draw(st.sampled_from((0.0, 0.0, 3.0))),
            pinned=draw(pinned),
            used_at=draw(st.sampled_from((0.0, 10.0))),
        )
        for i in range(count)
    )
    budget = draw(st.none() | st.integers(8, 80).map(lambda gib: gib * GIB))
    return Memory(budget, draw(st.integers(1, 6)), draw(st.sampled_from((0.0, 0.5, 1.5))), residents)


def satisfies_the_plain_rule(memory, victims, need):
    left = [resident for resident in memory.residents if resident.model not in victims]
    used = sum(resident.bytes for resident in left)
    in_budget = memory.budget_bytes is None or need.bytes <= FILL * (memory.budget_bytes - used)
    return not left or (len(left) < memory.max_models and in_budget)


@given(memories(), NEEDS, st.sampled_from(sorted(policies)))
def test_a_plan_satisfies_the_plain_rule_or_empties_the_gpu(memory, need, policy):
    room = policies[policy]().make_room(memory, need)
    assert satisfies_the_plain_rule(memory, room.victims, need) or not room.fits


@given(memories(), NEEDS, st.sampled_from(sorted(policies)))
def test_no_room_means_that_pinned_models_alone_are_too_much(memory, need, policy):
    room = policies[policy]().make_room(memory, need)
    movable = {resident.model for resident in memory.residents if not resident.pinned}
    assert room.fits == satisfies_the_plain_rule(memory, movable, need)


@given(memories(), NEEDS, st.sampled_from(sorted(policies)))
def test_a_pinned_model_is_never_a_victim(memory, need, policy):
    pinned = {resident.model for resident in memory.residents if resident.pinned}
    chosen = policies[policy]()
    ahead = chosen.room_ahead(memory, [Wanted("new", need.bytes, 1.0)])
    assert not pinned & set(chosen.make_room(memory, need).victims)
    assert ahead is None or ahead.victim not in pinned


def slower(memory, i, more_seconds):
    """The same memory, but resident `i` takes so much longer to load, and its loss grows with it."""
    residents = list(memory.residents)
    before = residents[i]
    residents[i] = replace(
        before, load_seconds=before.load_seconds + more_seconds, loss_seconds=before.loss_seconds + more_seconds / 2
    )
    return replace(memory, residents=tuple(residents))


@given(memories(believed=st.just(1000)), NEEDS, st.data(), st.integers(1, 100))
def test_a_longer_load_never_makes_a_model_a_victim_where_ollama_believes(memory, need, data, more_seconds):
    assume(memory.residents)
    i = data.draw(st.integers(0, len(memory.residents) - 1))
    model = memory.residents[i].model
    assume(model not in Adaptive().make_room(memory, need).victims)
    assert model not in Adaptive().make_room(slower(memory, i, more_seconds), need).victims


@given(memories(), NEEDS, st.integers(1, 100))
def test_a_longer_load_never_makes_the_dearest_model_a_victim_whatever_ollama_believes(memory, need, more_seconds):
    # For a cheaper one it may: losses are ranks too, and Ollama would then evict another one first, for nothing.
    movable = [i for i, resident in enumerate(memory.residents) if not resident.pinned]
    assume(movable)
    ranks = [resident.model for resident in Belief(memory).residents]
    i = max(movable, key=lambda i: ranks.index(memory.residents[i].model))
    assume(memory.residents[i].model not in Adaptive().make_room(memory, need).victims)
    assert memory.residents[i].model not in Adaptive().make_room(slower(memory, i, more_seconds), need).victims


@given(memories(pinned=NEVER_PINNED), NEEDS)
def test_the_cost_is_at_least_the_loss_of_the_victims(memory, need):
    room = Adaptive().make_room(memory, need)
    gone = [resident for resident in memory.residents if resident.model in room.victims]
    assert room.cost_seconds >= sum(resident.loss_seconds + resident.remaining_seconds for resident in gone)
