import pytest

from proxy.policy import UsageBook
from proxy.policy.calibration import START_BIAS, Calibration


def test_models_that_never_come_back_first_let_the_bias_vanish():
    returns = Calibration()
    for _ in range(100):
        returns.left("cold", 0.0)
        returns.loads("another")
    assert returns.bias == pytest.approx(START_BIAS * 0.95**100)


def test_models_that_come_back_first_against_all_hazards_raise_it():
    returns = Calibration(0.0)
    for _ in range(200):
        returns.left("cold", 0.001)
        returns.loads("cold")
    assert returns.bias == pytest.approx(0.999, abs=1e-3)


def test_a_forecast_that_holds_changes_nothing():
    returns = Calibration(0.0)
    for i in range(1000):
        returns.left("cold", 0.25)
        returns.loads("cold" if i % 4 == 0 else "another")
    assert returns.bias == pytest.approx(0.0, abs=0.05)


def test_forecasts_that_were_too_high_take_nothing_away():
    returns = Calibration(0.0)
    returns.left("cold", 0.9)
    returns.loads("another")
    assert returns.error < 0.0
    assert returns.bias == 0.0


def test_the_next_load_tells_of_all_who_left_before_it_and_the_one_after_tells_nothing():
    returns = Calibration(0.0)
    returns.left("first", 0.0)
    returns.left("second", 0.0)
    returns.loads("second")
    told = returns.error
    assert told == pytest.approx(0.05)  # one came back, after one that did not
    returns.loads("first")
    assert returns.error == told


def test_it_survives_a_restart_and_states_from_before_begin_anew():
    book = UsageBook()
    book.returns.left("cold", 0.0)
    book.returns.loads("cold")
    state = book.to_state()
    assert UsageBook.from_state(state).returns.error == book.returns.error
    del state["return_error"]
    assert UsageBook.from_state(state).returns.error == START_BIAS
