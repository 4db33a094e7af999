"""TTLs and the keep_alive numbers made of them, for any hazards and losses."""

from math import exp, expm1

from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.policy import Adaptive, Kept, Stay, ranked_keep_alive
from proxy.policy.day import PARTS, DayRhythm
from proxy.policy.hazard import EDGES, bin_of

GIB = 2**30
HAZARDS = st.lists(st.just(0.0) | st.floats(1e-9, 1.0), min_size=len(EDGES), max_size=len(EDGES)).map(tuple)
LOADS = st.floats(0.0, 600.0)
PRICES = st.just(0.0) | st.floats(1e-6, 100.0)
BYTES = st.integers(0, 100 * GIB)
BOUNDS = st.tuples(st.floats(0.0, 1e6), st.floats(0.0, 1e6)).map(sorted)


FACTORS = st.lists(st.floats(0.01, 20.0), min_size=PARTS, max_size=PARTS).map(tuple)
TIMES = st.floats(0.0, 4e9)


def cost(stay, seconds):
    """λ·bytes·E[min(X,T)] + load·P(X>T), summed up in small steps whose hazard is that at their middle."""
    step, still_away, rent = 150.0, 1.0, 0.0
    for number in range(int(seconds // step)):
        age = (number + 0.5) * step
        factor = stay.day_factors[int((stay.began + age) % 86400 * PARTS / 86400)] if age >= 1200 else 1.0
        hazard = stay.hazards[bin_of(age)] * factor
        rent += stay.rent * still_away * (-expm1(-hazard * step) / hazard if hazard else step)
        still_away *= exp(-hazard * step)
    return rent + stay.load_seconds * still_away


@given(st.lists(st.floats(0.0, 3e-4), min_size=len(EDGES), max_size=len(EDGES)), FACTORS, st.integers(0, 23), PRICES)
def test_no_other_ttl_costs_less(hazards, factors, hour, price):
    assume(price > 0)
    hazards[:5] = [0.0] * 5  # nothing changes within a step
    stay = Stay(tuple(hazards), 8 * GIB, 6.0, price, 0.0, 36000.0, began=hour * 3600.0, day_factors=factors)
    limit = min(36000.0, 2 * stay.load_seconds / stay.rent)
    chosen = Adaptive().ttl(stay).seconds
    assume(chosen % 150 == 0)  # else it is the limit by its rent, which no step ends at
    assert cost(stay, chosen) <= min(cost(stay, other) for other in range(0, int(limit) + 1, 600)) + 1e-6


@given(HAZARDS, FACTORS, TIMES, BYTES, LOADS, PRICES, BOUNDS)
def test_a_ttl_lies_within_its_bounds_at_any_time_of_the_day(hazards, factors, began, n_bytes, load, price, bounds):
    stay = Stay(hazards, n_bytes, load, price, *bounds, began=began, day_factors=factors)
    assert bounds[0] <= Adaptive().ttl(stay).seconds <= bounds[1]


@given(st.lists(st.tuples(TIMES, st.floats(1200.0, 7 * 86400.0), HAZARDS), max_size=30))
def test_a_rhythm_stays_above_0_and_finite(gaps):
    rhythm = DayRhythm()
    for began, gap, hazards in gaps:
        rhythm.add(began, gap, hazards)
    assert all(0 < factor < 10 for factor in rhythm.factors)


@given(HAZARDS, BYTES, LOADS, PRICES, BOUNDS)
def test_a_ttl_lies_within_its_bounds(hazards, n_bytes, load, price, bounds):
    ttl = Adaptive().ttl(Stay(hazards, n_bytes, load, price, *bounds))
    assert bounds[0] <= ttl.seconds <= bounds[1]


@given(HAZARDS, BYTES, LOADS, PRICES, PRICES, BOUNDS)
def test_dearer_memory_never_keeps_a_model_longer(hazards, n_bytes, load, price, other, bounds):
    cheap, dear = (Adaptive().ttl(Stay(hazards, n_bytes, load, p, *bounds)).seconds for p in sorted((price, other)))
    assert dear <= cheap


@given(HAZARDS, st.integers(1, 100 * GIB), st.floats(0.1, 600.0), st.floats(1e-3, 10.0))
def test_without_bounds_a_ttl_costs_at_most_two_loads(hazards, n_bytes, load, price):
    seconds = Adaptive().ttl(Stay(hazards, n_bytes, load, price, 0.0, 1e12)).seconds
    assert seconds * price * n_bytes / GIB / 3600 <= 2 * load * (1 + 1e-9)


@st.composite
def kept_models(draw):
    losses = draw(st.lists(st.sampled_from((0.0, 0.5, 1.0)) | st.floats(0.0, 100.0), max_size=8))
    return [
        Kept(f"m{i}", draw(st.floats(0.0, 90000.0)), loss, 90000.0, pinned=draw(st.booleans()))
        for i, loss in enumerate(losses)
    ]


@given(kept_models())
def test_the_order_of_the_numbers_is_the_order_of_the_losses_with_pins_on_top(models):
    values = ranked_keep_alive(models)
    for low in models:
        for high in models:
            if (low.pinned, low.loss_seconds) < (high.pinned, high.loss_seconds):
                assert values[low.model] < values[high.model]


@given(kept_models())
def test_a_number_is_lifted_by_the_others_but_never_lowered_and_never_endless(models):
    values = ranked_keep_alive(models)
    assert all(model.ttl_seconds <= values[model.model] <= 90000 + 2 * len(models) for model in models)
    assert all(isinstance(value, int) and value >= 1 for value in values.values())


@given(kept_models(), st.randoms(use_true_random=False))
def test_the_order_of_asking_does_not_matter(models, order):
    shuffled = order.sample(models, len(models))
    assert ranked_keep_alive(shuffled) == ranked_keep_alive(models)
