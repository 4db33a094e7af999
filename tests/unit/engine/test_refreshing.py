"""Ollama believes of each model what was free when it was loaded: one that is loaded anew tells the truth."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.domain import effects as fx
from proxy.domain.effects import Cause, Outcome
from proxy.domain.settings import ModelRule
from tests.unit.engine.transcript import Transcript

SIZES = {"big": 14.0, "chat": 5.0, "tiny": 0.5, "new": 10.0}


def crowded(answer_seconds: float = 20.0, **settings: Any) -> Transcript:
    """The big one was loaded first: the others know only of the little room that it left them."""
    script = Transcript(SIZES, **settings).warmed("big", "chat", "tiny")
    for _ in range(30):
        request = script.asks("chat")
        script.after(answer_seconds).ends(request)
    return script.after(120)


def loads(script: Transcript) -> list[str]:
    return [effect.model for effect in script.log if isinstance(effect, fx.Load)]


def first_loaded_beside_a_busy_one(script: Transcript) -> str:
    script.asks("chat")
    script.asks("new")
    script.unloads("big")
    script.settles()
    return script.one(fx.Load).model


def test_an_idle_model_is_loaded_anew_where_ollama_would_wait_for_a_busy_one() -> None:
    script = crowded()
    before = len(loads(script))
    busy = script.asks("chat")
    cold = script.asks("new")
    assert script.one(fx.Unload).model == "big:latest"
    script.unloads("big")
    assert script.one(fx.Unload).cause is Cause.RELOAD
    script.unloads("tiny")
    script.settles()
    load = script.one(fx.Load)
    assert load.model == "tiny:latest"
    assert load.reason == "loaded anew, so that Ollama sees the room for new:latest beside busy models"
    held = script.asks("tiny")
    script.loads("tiny")
    assert held in script.forwarded()
    script.settles(0.02)
    assert loads(script)[before:] == ["tiny:latest", "new:latest"]
    script.loads("new")
    assert cold in script.forwarded()
    assert busy in script.engine.state.in_flight  # nobody had to wait for it
    forwarded = [effect for effect in script.log if isinstance(effect, fx.Forward) and effect.request_id == cold]
    assert [effect.outcome for effect in forwarded] == [Outcome.COLD]


@pytest.mark.parametrize("seconds", [0.1, 2.0])
def test_answers_that_are_over_sooner_than_the_load_are_waited_for(seconds: float) -> None:
    script = crowded(seconds)
    assert first_loaded_beside_a_busy_one(script) == "new:latest"


def test_an_answer_that_has_run_for_long_is_not_expected_to_be_over_at_once() -> None:
    script = crowded(0.1)
    script.asks("chat")
    script.after(20).asks("new")
    script.unloads("big")
    assert script.engine.state.residents["tiny:latest"].leaving is Cause.RELOAD


def test_where_nobody_is_busy_ollama_may_take_whom_it_likes() -> None:
    script = crowded()
    before = len(loads(script))
    script.asks("new")
    while not loads(script)[before:]:
        for unload in script.of(fx.Unload):
            script.unloads(unload.model)
        if script.of(fx.Settle):
            script.settles()
    assert loads(script)[before:] == ["new:latest"]


def test_a_pinned_model_is_not_loaded_anew() -> None:
    script = crowded(rules=[("tiny", ModelRule(pin=True))])
    assert first_loaded_beside_a_busy_one(script) == "new:latest"


def test_none_is_loaded_anew_twice_within_ten_seconds() -> None:
    script = crowded()
    script.engine.state.residents["tiny:latest"].loaded_at = script.at - 9
    assert first_loaded_beside_a_busy_one(script) == "new:latest"
