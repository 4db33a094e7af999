from __future__ import annotations

import pytest

from proxy.domain import effects as fx
from proxy.domain.effects import Cause
from proxy.domain.settings import ModelRule
from proxy.engine import verdicts
from tests.unit.engine.transcript import Transcript

SIZES = {"cron": 16.0, "chat": 16.0}
HOUR = 3600.0


def ticked(script: Transcript, until: float) -> None:
    """Wake the engine whenever it asks to be, and carry out what it wants."""
    while script.at < until:
        script.ticks()
        while script.todo:
            script.carries_out()
        later = [effect.at for effect in script.log if isinstance(effect, fx.WakeAt) and effect.at > script.at]
        script.at = min([until, *later[-1:]])


def hourly(script: Transcript, hours: int) -> Transcript:
    """Every hour a job asks for one model, and half an hour later somebody for the other."""
    start = script.at
    script.ps()
    for hour in range(hours):
        for model, after in (("cron", 0.0), ("chat", HOUR / 2)):
            ticked(script, start + hour * HOUR + after + 60)
            script.warmed(model)
    ticked(script, start + hours * HOUR + 50)
    return script


@pytest.fixture
def script() -> Transcript:
    return hourly(Transcript(SIZES, price_seconds_per_gib_hour=0.0), 8)


def test_a_caller_that_comes_every_hour_finds_its_model_warm(script: Transcript) -> None:
    loaded = [effect for effect in script.log if isinstance(effect, fx.Loaded)]
    assert loaded[-1].cause is Cause.WARM_UP
    request_id = script.after(10).asks("cron")
    assert script.forwarded()[request_id].outcome is fx.Outcome.WARM
    assert script.one(fx.WarmedUp) == fx.WarmedUp("cron:latest", used=True)
    assert any("ahead of use" in decision.text for decision in script.engine.state.learnt("cron:latest").decisions)


def test_switched_off_nothing_is_loaded_ahead() -> None:
    for settings in ({"warm_up": False}, {"rules": [("*", ModelRule(warm_up=False))]}):
        script = hourly(Transcript(SIZES, price_seconds_per_gib_hour=0.0, **settings), 8)
        assert not any(effect.cause is Cause.WARM_UP for effect in script.log if isinstance(effect, fx.Loaded))


def test_a_model_that_a_client_unloaded_is_not_loaded_ahead() -> None:
    script = hourly(Transcript(SIZES, price_seconds_per_gib_hour=0.0), 4)
    script.asks("cron", unload=True)
    assert script.engine.state.learnt("cron:latest").wants is None


def test_after_seven_vain_warm_ups_of_ten_there_are_no_more_until_they_would_pay() -> None:
    script = Transcript(SIZES)
    state = script.engine.state
    learnt = state.learnt("cron:latest")
    for used in (True, True, True, *[False] * 7):
        assert verdicts.pays(learnt)
        verdicts.expect(learnt, 0.0, carried_out=True)
        verdicts.asked(state, "cron:latest", learnt, 10.0 if used else 1000.0)
    assert not verdicts.pays(learnt)
    for at in (1000.0, 2000.0, 3000.0, 4000.0):
        verdicts.expect(learnt, at, carried_out=False)
        verdicts.asked(state, "cron:latest", learnt, at + 5.0)
    assert verdicts.pays(learnt)


def test_only_what_was_carried_out_is_told_and_a_model_that_leaves_unused_was_loaded_in_vain() -> None:
    script = Transcript(SIZES)
    state = script.engine.state
    learnt = state.learnt("cron:latest")
    verdicts.expect(learnt, 0.0, carried_out=False)
    verdicts.in_vain(state, "cron:latest", learnt)
    assert verdicts.undecided(learnt)
    verdicts.overdue(state, "cron:latest", learnt, 500.0)
    assert not verdicts.undecided(learnt)
    verdicts.expect(learnt, 600.0, carried_out=True)
    verdicts.in_vain(state, "cron:latest", learnt)
    assert [effect for effect in state.out if isinstance(effect, fx.WarmedUp)] == [
        fx.WarmedUp("cron:latest", used=False)
    ]


def test_the_gaps_outlive_a_restart_and_older_states_have_none(script: Transcript) -> None:
    book = script.engine.state.usage
    state = book.to_state()
    again = type(book).from_state(state)
    assert again.chance_soon("cron:latest", script.at, 40.0) == book.chance_soon("cron:latest", script.at, 40.0)
    models = state["models"]
    assert isinstance(models, dict)
    for model in models.values():
        del model["gaps"]
    assert type(book).from_state(state).next_due("cron:latest", script.at) == float("inf")
