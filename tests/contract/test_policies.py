"""The rules that every policy keeps, whatever else it does."""

import random
from math import isfinite

import pytest

from proxy.policy import Memory, Need, Stay, Wanted, policies
from proxy.policy.hazard import EDGES, Ages
from proxy.sim.replay.baselines import Clairvoyant, Gdsf, Herd, Histogram, Lemonade
from proxy.sim.replay.workload import Arrival, Workload, WorkloadModel
from tests.unit.policy.values import GIB, memory, resident

FILL = 0.8  # of what is free a new model may take, OLLAMA.md 8


MODELS = tuple(WorkloadModel(name, GIB, 1.0) for name in ("m0", "m1", "m2", "m3", "m4", "m5", "new", "needed"))
FUTURE = Workload(MODELS, tuple(Arrival(float(at), at * 5 % len(MODELS), 1.0) for at in range(20)))
ALL = {
    **policies,
    "clairvoyant": lambda: Clairvoyant(FUTURE),
    "gdsf": Gdsf,
    "herd": Herd,
    "histogram": Histogram,
    "lemonade": Lemonade,
}


@pytest.fixture(params=sorted(ALL))
def policy(request):
    return ALL[request.param]()


def random_states(count):
    """Random memories with a need each, busy and pinned residents among them; the same ones at every run."""
    chosen = random.Random(7)
    for _ in range(count):
        residents = tuple(
            resident(
                f"m{i}",
                chosen.uniform(0.5, 9),
                believed_gib=chosen.choice((None, chosen.uniform(0, 24))),
                loss=chosen.choice((0.0, chosen.expovariate(1))),
                chance=chosen.random(),
                load=chosen.uniform(0.2, 20),
                remaining=chosen.choice((0, 0, 0, 4.0)),
                pinned=chosen.random() < 0.15,
                used_at=float(chosen.randrange(5)),
            )
            for i in range(chosen.randint(0, 6))
        )
        budget_gib = chosen.choice((None, 24))
        state = memory(*residents, budget_gib=budget_gib, max_models=max(len(residents), chosen.randint(1, 6)))
        yield state, Need("new", round(chosen.uniform(0.3, 26) * GIB))


STATES = list(random_states(60))


def stays(state, victims):
    return [resident for resident in state.residents if resident.model not in victims]


def plainly_fits(state, victims, need):
    left = stays(state, victims)
    if not left:
        return True
    free = None if state.budget_bytes is None else state.budget_bytes - sum(resident.bytes for resident in left)
    return len(left) < state.max_models and (free is None or need.bytes <= FILL * free)


def wanted_of(state):
    return [
        *(Wanted(r.model, r.bytes, 0.01 * (i + 1)) for i, r in enumerate(state.residents)),
        Wanted("new", 12 * GIB, 0.2),
        Wanted("other", 5 * GIB, 0.1),
    ]


@pytest.mark.parametrize(("state", "need"), STATES)
def test_victims_are_residents_named_once_and_never_pinned(policy, state, need):
    room = policy.make_room(state, need)
    movable = {resident.model for resident in state.residents if not resident.pinned}
    assert set(room.victims) <= movable
    assert len(set(room.victims)) == len(room.victims)


@pytest.mark.parametrize(("state", "need"), STATES)
def test_the_model_fits_when_the_victims_are_gone(policy, state, need):
    room = policy.make_room(state, need)
    all_movable = [resident.model for resident in state.residents if not resident.pinned]
    assert room.fits == plainly_fits(state, all_movable, need)
    assert not room.fits or plainly_fits(state, room.victims, need)
    assert room.fits or room.victims == ()


@pytest.mark.parametrize(("state", "need"), STATES)
def test_a_plan_says_whether_all_victims_are_idle_what_it_costs_and_why(policy, state, need):
    room = policy.make_room(state, need)
    busy = {resident.model for resident in state.residents if resident.busy}
    assert room.idle == (not busy & set(room.victims))
    assert isfinite(room.cost_seconds)
    assert room.cost_seconds >= 0
    assert all(victim in room.reason for victim in room.victims)
    assert room.reason


@pytest.mark.parametrize(("state", "need"), STATES)
def test_no_decision_changes_when_the_residents_come_in_another_order(policy, state, need):
    shuffled = random.Random(1).sample(state.residents, len(state.residents))
    other = Memory(state.budget_bytes, state.max_models, state.settle_seconds, tuple(shuffled))
    assert policy.make_room(other, need) == policy.make_room(state, need)
    assert policy.room_ahead(other, wanted_of(state)[::-1]) == policy.room_ahead(state, wanted_of(state))


@pytest.mark.parametrize(("state", "need"), STATES)
def test_the_same_question_has_the_same_answer(policy, state, need):
    assert policy.make_room(state, need) == policy.make_room(state, need)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_of_equal_residents_no_more_leave_than_have_to(policy, count):
    # four of 5 GiB fill 20 of 30 GiB; the need is for one, two or three places more than what is free
    state = memory(*(resident(f"m{i}", 5, chance=0.0, used_at=i) for i in range(4)), budget_gib=30, max_models=6)
    need = Need("new", round(FILL * (10 + 5 * count) * GIB))
    room = policy.make_room(state, need)
    assert len(room.victims) == count
    assert not plainly_fits(state, room.victims[:-1], need)


@pytest.mark.parametrize(("state", "need"), STATES)
def test_only_an_idle_resident_that_is_not_pinned_leaves_ahead_of_need(policy, state, need):
    ahead = policy.room_ahead(state, [*wanted_of(state), Wanted("needed", need.bytes, 1.0)])
    movable = {resident.model for resident in state.residents if not (resident.pinned or resident.busy)}
    assert policy.looks_ahead or ahead is None
    assert ahead is None or (ahead.victim in movable and ahead.gain_seconds > 0 and ahead.victim in ahead.reason)


@pytest.mark.parametrize("price", [0.0, 0.005, 0.25])
@pytest.mark.parametrize(("shortest", "longest"), [(0.0, 86400.0), (300.0, 86400.0), (300.0, 300.0), (0.0, 0.0)])
@pytest.mark.parametrize("hazard", [0.0, 1e-6, 0.1])
def test_a_ttl_is_finite_within_its_bounds_and_explained(policy, price, shortest, longest, hazard):
    ttl = policy.ttl(Stay(tuple(hazard for _ in EDGES), 6 * GIB, 5.0, price, shortest, longest))
    assert isfinite(ttl.seconds)
    assert shortest <= ttl.seconds <= longest
    assert ttl.why().startswith("kept ")


def test_a_model_that_needs_no_memory_has_a_ttl_too(policy):
    assert policy.ttl(Stay(Ages.prior().hazards(), 0, 0.0, 0.005, 60.0, 600.0)).seconds in {300.0, 600.0}
