"""The exact bound against all there is to try, on instances small enough for that."""

from functools import cache
from itertools import chain, combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.sim.replay.optimum import Capacity, least_load_seconds
from proxy.sim.replay.workload import Arrival, Workload, WorkloadModel

models_of = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 9)), min_size=1, max_size=4)
capacities = st.builds(Capacity, st.just(12), st.integers(1, 4))


def workload(models, requests):
    arrivals = tuple(Arrival(float(at), model % len(models), 0.0) for at, model in enumerate(requests))
    return Workload(tuple(WorkloadModel(str(i), size, load) for i, (size, load) in enumerate(models)), arrivals)


def subsets(things):
    things = sorted(things)
    return map(frozenset, chain.from_iterable(combinations(things, count) for count in range(len(things) + 1)))


def brute_force(models, requests, capacity, *, ahead):
    """Try every subset to keep at every request; with `ahead`, also every load beforehand."""
    requests = tuple(request % len(models) for request in requests)

    def lets_in(residents, model):
        used = sum(models[i][0] for i in residents)
        fits = not residents or models[model][0] <= 0.8 * (capacity.gpu_bytes - used)
        return fits and len(residents) < capacity.max_models

    @cache
    def least(residents, position, loads_left):
        if position == len(requests):
            return 0.0
        model = requests[position]
        if model in residents:
            here = least(residents, position + 1, 2)
        else:
            stays = (kept for kept in subsets(residents) if lets_in(kept, model))
            here = models[model][1] + min(least(kept | {model}, position + 1, 2) for kept in stays)
        if ahead and loads_left:
            for other in set(range(len(models))) - residents:
                for kept in subsets(residents):
                    if lets_in(kept, other):
                        here = min(here, models[other][1] + least(kept | {other}, position, loads_left - 1))
        return here

    return least(frozenset(), 0, 2)


@given(models_of, st.lists(st.integers(0, 3), min_size=1, max_size=8), capacities)
def test_on_demand_it_is_what_trying_everything_finds(models, requests, capacity):
    expected = brute_force(models, requests, capacity, ahead=False)
    assert least_load_seconds(workload(models, requests), capacity) == pytest.approx(expected)


@given(models_of, st.lists(st.integers(0, 3), min_size=1, max_size=5), capacities)
def test_ahead_of_use_nothing_that_can_be_tried_does_with_less(models, requests, capacity):
    bound = least_load_seconds(workload(models, requests), capacity, ahead=True)
    assert bound <= brute_force(models, requests, capacity, ahead=True) + 1e-9
    assert bound <= least_load_seconds(workload(models, requests), capacity) + 1e-9


def test_a_load_ahead_can_do_with_less_than_loads_on_demand():
    # 8 beside 3 is too much (80 % of 12 - 3), 3 beside 8 is not: loaded first, the big one may stay
    models, requests, capacity = [(8, 5), (3, 1)], [1, 0, 1, 0], Capacity(12, 2)
    assert least_load_seconds(workload(models, requests), capacity) == 7.0  # 1 + 5, and the small one again
    assert least_load_seconds(workload(models, requests), capacity, ahead=True) == 6.0


def test_a_model_alone_is_always_let_in():
    assert least_load_seconds(workload([(50, 4)], [0, 0]), Capacity(12, 1)) == 4.0


def test_the_number_of_models_binds_where_memory_does_not():
    models, requests = [(1, 1), (1, 1), (1, 1)], [0, 1, 2, 0, 1, 2]
    assert least_load_seconds(workload(models, requests), Capacity(100, 3)) == 3.0
    assert least_load_seconds(workload(models, requests), Capacity(100, 2)) == 4.0
    assert least_load_seconds(workload(models, requests), Capacity(100, 1)) == 6.0


def test_many_sets_of_models_are_pruned_without_harm():
    """Twelve models of many sizes: hundreds of sets, of which those that others contain are left out on the way."""
    models = [(2 + i % 5, 1 + i * 7 % 5) for i in range(12)]
    requests = [i * i % 13 % 12 for i in range(120)] + [i * 5 % 12 for i in range(60)]
    made = workload(models, requests)
    capacity = Capacity(30, 8)
    assert least_load_seconds(made, capacity, ahead=True) <= least_load_seconds(made, capacity)
    reversed_names = Workload(made.models[::-1], tuple(a._replace(model=11 - a.model) for a in made.arrivals))
    assert least_load_seconds(reversed_names, capacity) == pytest.approx(least_load_seconds(made, capacity))
