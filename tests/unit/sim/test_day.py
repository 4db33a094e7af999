"""The made-up day."""

import pytest

from proxy.sim.catalog import DEFAULT_MODELS
from proxy.sim.day import DAY_SECONDS, HABITS, day


def test_a_day_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert day(1) == day(1)
    assert day(1) != day(2)


@pytest.mark.parametrize("seed", range(20))
def test_a_day_is_in_order_within_its_24_hours_and_of_bounded_size(seed: int) -> None:
    asks = day(seed)
    times = [ask.at for ask in asks]
    assert times == sorted(times)
    assert all(0 <= at < DAY_SECONDS for at in times)
    assert 500 < len(asks) < 1500
    assert min(ask.prompt_words for ask in asks) >= 1
    assert min(ask.answer_tokens for ask in asks) >= 1


def test_every_model_that_is_asked_for_is_there_and_together_they_want_more_than_the_gpu_has() -> None:
    mib = {model.name: model.mib for model in DEFAULT_MODELS}
    assert sum(mib[habit.model] for habit in HABITS) > 2 * 24 * 1024


def test_a_day_has_a_rhythm_nights_are_quiet_and_the_big_model_is_rare() -> None:
    asks = day(0)
    at_night = [ask for ask in asks if ask.at < 6 * 3600 and ask.client != "index of the files"]
    assert not at_night
    big = [ask for ask in asks if ask.model == "gemma3:27b"]
    assert 0 < len(big) < 20
