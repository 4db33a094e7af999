from __future__ import annotations

from time import perf_counter

from hypothesis import given
from hypothesis import strategies as st

from proxy.policy import Soon
from proxy.policy.warm import warm_up
from tests.unit.policy.values import GIB, memory, resident


def soon(
    model: str,
    gib: float = 4,
    *,
    chance: float = 0.9,
    load: float = 5.0,
    weight: float = 1.0,
    may_load: bool = True,
    steady: bool = False,
) -> Soon:
    return Soon(model, round(gib * GIB), load, chance, weight, may_load, steady)


def test_a_model_that_is_due_is_loaded_into_free_memory() -> None:
    plan = warm_up(memory(), [soon("due")])
    assert plan is not None
    assert (plan.model, plan.victims) == ("due", ())
    assert "90%" in plan.reason


def test_what_is_unlikely_or_may_not_be_loaded_or_is_resident_is_left_alone() -> None:
    assert warm_up(memory(), [soon("due", chance=0.2)]) is None
    assert warm_up(memory(), [soon("due", may_load=False)]) is None
    assert warm_up(memory(resident("due")), [soon("due")]) is None


def test_of_a_model_with_a_schedule_a_smaller_chance_is_believed() -> None:
    assert warm_up(memory(), [soon("due", chance=0.3)]) is None
    assert warm_up(memory(), [soon("due", chance=0.3, steady=True)]) is not None
    assert warm_up(memory(), [soon("due", chance=0.2, steady=True)]) is None


def test_a_model_that_is_not_due_makes_room_for_one_that_is() -> None:
    plan = warm_up(memory(resident("old", 16)), [soon("due", 16), soon("old", 16, chance=0.01)])
    assert plan is not None
    assert plan.victims == ("old",)


def test_nobody_who_is_as_likely_to_be_asked_for_makes_room() -> None:
    assert warm_up(memory(resident("old", 16)), [soon("due", 16), soon("old", 16)]) is None


def test_a_model_for_which_waiting_is_worse_stays() -> None:
    others = [soon("due", 16, chance=0.8), soon("old", 16, chance=0.3)]
    heavier = [soon("due", 16, chance=0.8), soon("old", 16, chance=0.3, weight=10.0)]
    assert warm_up(memory(resident("old", 16)), others) is not None
    assert warm_up(memory(resident("old", 16)), heavier) is None


def test_neither_busy_nor_pinned_models_leave_for_it() -> None:
    for stays in (resident("old", 16, remaining=3.0), resident("old", 16, pinned=True)):
        assert warm_up(memory(stays), [soon("due", 16), soon("old", 16, chance=0.0)]) is None


def test_no_load_begins_while_many_others_are_likely_to_be_asked_for_during_it() -> None:
    others = [soon(f"other{i}", 16, chance=0.5, may_load=False) for i in range(30)]
    assert warm_up(memory(), [soon("due", load=10.0), *others]) is None


_CHANCES = st.floats(0, 1)
_MODELS = st.lists(st.tuples(st.floats(1, 30), _CHANCES, st.floats(0, 20), st.booleans()), min_size=1, max_size=8)


@given(models=_MODELS, loaded=st.lists(st.tuples(st.booleans(), st.booleans()), max_size=3))
def test_a_plan_never_takes_a_pinned_or_busy_model_and_keeps_within_the_budget(
    models: list[tuple[float, float, float, bool]], loaded: list[tuple[bool, bool]]
) -> None:
    residents = [
        resident(f"r{i}", 7, pinned=pinned, remaining=3.0 if busy else 0.0) for i, (pinned, busy) in enumerate(loaded)
    ]
    known = [soon(f"m{i}", gib, chance=p, load=s, may_load=may) for i, (gib, p, s, may) in enumerate(models)]
    plan = warm_up(memory(*residents), known)
    if plan is None:
        return
    chosen = next(model for model in known if model.model == plan.model)
    stays = [one for one in residents if one.model not in plan.victims]
    assert chosen.may_load
    assert not any(one.pinned or one.busy for one in residents if one.model in plan.victims)
    assert not stays or sum(one.bytes for one in stays) + chosen.bytes <= 24 * GIB


def test_a_look_at_thirty_models_takes_far_less_than_a_second() -> None:
    known = [soon(f"m{i}", 4 + i % 5, chance=0.1 + 0.02 * i) for i in range(30)]
    residents = memory(*(resident(f"r{i}", 4) for i in range(3)))
    began = perf_counter()
    warm_up(residents, known)
    assert perf_counter() - began < 0.2
