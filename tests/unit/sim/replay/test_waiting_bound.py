"""The bound for waiting against every schedule of loads, ahead of use too, on instances small enough for that."""

from heapq import heappop, heappush
from itertools import chain, combinations, count

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.sim.replay.optimum import Capacity
from proxy.sim.replay.waiting_bound import least_wait_seconds
from proxy.sim.replay.workload import Arrival, Workload, WorkloadModel

models_of = st.lists(st.tuples(st.integers(2, 10), st.integers(1, 4)), min_size=2, max_size=3)
requests_of = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=6)


def workload(models, requests):
    """Requests are (gap before, model)."""
    at, arrivals = 0, []
    for gap, model in requests:
        at += gap
        arrivals.append(Arrival(float(at), model % len(models), 0.0))
    return Workload(tuple(WorkloadModel(str(i), size, load) for i, (size, load) in enumerate(models)), tuple(arrivals))


def subsets(things):
    things = sorted(things)
    return map(frozenset, chain.from_iterable(combinations(things, size) for size in range(len(things) + 1)))


class Schedules:
    """Everything that can be begun in every second: unloading takes no time, one load at a time."""

    def __init__(self, models, requests, capacity):
        self.models, self.capacity = models, capacity
        self.asked = workload(models, requests).arrivals

    def least_waiting(self):
        """Follow the schedule that has waited least so far, until one has served everybody."""
        seen, number = set(), count()
        queue = [(0, next(number), 0, 0, frozenset(), None)]
        while True:
            waited, _, now, position, residents, loading = heappop(queue)
            while position < len(self.asked) and self.waits(now, position) and self.asked[position].model in residents:
                position += 1
            if position == len(self.asked):
                return waited
            if (now, position, residents, loading) not in seen:
                seen.add((now, position, residents, loading))
                waits = waited + self.waits(now, position)
                for after in self.a_second_later(residents, loading):
                    heappush(queue, (waits, next(number), now + 1, position, *after))

    def waits(self, now, position):
        return now >= self.asked[position].at

    def a_second_later(self, residents, loading):
        """Residents, and the load that is under way: (model, seconds left) or None."""
        for kept, (model, left) in self.begun(residents) if loading is None else [(residents, loading)]:
            yield (kept | {model}, None) if left == 1 else (kept, (model, left - 1))
        if loading is None:
            yield residents, None

    def begun(self, residents):
        for kept in subsets(residents):
            for model in set(range(len(self.models))) - kept:
                used = sum(self.models[i][0] for i in kept)
                fits = not kept or self.models[model][0] <= 0.8 * (self.capacity.gpu_bytes - used)
                if fits and len(kept) < self.capacity.max_models:
                    yield kept, (model, self.models[model][1])


def least_waiting(models, requests, capacity):
    return Schedules(models, requests, capacity).least_waiting()


@settings(max_examples=60)
@given(models_of, requests_of, st.integers(1, 3))
def test_no_schedule_waits_less(models, requests, max_models):
    capacity = Capacity(12, max_models)
    bound = least_wait_seconds(workload(models, requests), capacity)
    assert bound <= least_waiting(models, requests, capacity) + 1e-9


def test_without_time_in_between_all_loads_are_waited_for():
    # two models that never fit together, in turns and without a pause: the first load is waited for before the stretch
    models, requests = [(8, 2), (9, 3)], [(0, 0), (0, 1), (0, 0), (0, 1)]
    assert least_wait_seconds(workload(models, requests), Capacity(12, 2)) == 3 + 2 + 3
    assert least_waiting(models, requests, Capacity(12, 2)) == 2 + 3 + 2 + 3


def test_time_in_between_is_time_to_load():
    models, requests = [(8, 2), (9, 3)], [(0, 0), (1, 1), (1, 0), (1, 1)]
    assert least_wait_seconds(workload(models, requests), Capacity(12, 2)) == 3 + 2 + 3 - 3


def test_time_to_spare_in_one_place_does_not_help_in_another():
    models = [(8, 2), (9, 3)]
    rush = [(0, 0), (0, 1), (0, 0)]
    assert least_wait_seconds(workload(models, [*rush, (500, 0), *rush[1:]]), Capacity(12, 2)) == 2 * (3 + 2)


def test_where_everything_fits_nobody_needs_to_wait():
    assert least_wait_seconds(workload([(2, 5), (3, 5)], [(0, 0), (0, 1), (0, 0), (0, 1)]), Capacity(12, 2)) == 0


def test_a_single_request_says_nothing():
    assert least_wait_seconds(workload([(2, 5), (3, 5)], [(0, 0)]), Capacity(12, 2)) == 0
