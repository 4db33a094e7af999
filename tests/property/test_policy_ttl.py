"""TTLs and the keep_alive numbers made of them, for any hazards and losses."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.policy import Adaptive, Kept, Stay, ranked_keep_alive
from proxy.policy.hazard import EDGES

GIB = 2**30
HAZARDS = st.lists(st.just(0.0) | st.floats(1e-9, 1.0), min_size=len(EDGES), max_size=len(EDGES)).map(tuple)
LOADS = st.floats(0.0, 600.0)
PRICES = st.just(0.0) | st.floats(1e-6, 100.0)
BYTES = st.integers(0, 100 * GIB)
BOUNDS = st.tuples(st.floats(0.0, 1e6), st.floats(0.0, 1e6)).map(sorted)


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
