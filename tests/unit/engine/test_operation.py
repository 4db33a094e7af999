from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.domain import effects as fx
from proxy.domain import events as ev
from proxy.domain.effects import Cause, Outcome
from tests.unit.engine.transcript import GIB, SETTINGS, Transcript

SIZES = {"small": 4.0, "middle": 9.0, "large": 10.0, "other": 9.0, "twenty": 20.0}


def test_a_load_that_fails_lets_ollama_itself_answer_the_client() -> None:
    script = Transcript(SIZES)
    script.ps()
    request_id = script.asks("small")
    script.happens(ev.LoadEnded(script.at, "small:latest", 1.0, "/api/generate answered 500: out of memory"))
    forward = script.one(fx.Forward)
    assert (forward.request_id, forward.outcome) == (request_id, Outcome.PASSTHROUGH)
    assert "out of memory" in forward.reason
    assert "out of memory" in script.one(fx.ManagementFailed).error
    assert script.engine.state.operation is None


def test_an_unload_that_fails_lets_ollama_itself_make_room() -> None:
    script = Transcript(SIZES).warmed("middle", "large")
    request_id = script.asks("other")
    victim = script.one(fx.Unload).model
    script.happens(ev.UnloadEnded(script.at, victim, 12.0, "still in /api/ps"))
    assert script.one(fx.Forward).request_id == request_id
    assert script.engine.state.residents[victim].leaving is None
    script.asks(victim)
    assert script.one(fx.Forward).outcome is Outcome.WARM


def test_unknown_residents_in_the_middle_of_a_swap_let_everyone_pass() -> None:
    script = Transcript(SIZES).warmed("middle", "large")
    cold = script.asks("other")
    held = script.asks(script.one(fx.Unload).model)
    script.happens(ev.ResidentsUnknown(script.at, "/api/ps: connection refused"))
    assert {cold, held} == {forward.request_id for forward in script.of(fx.Forward)}
    assert not script.engine.state.held


def test_a_load_that_spilled_though_it_should_have_fitted_is_repaired_once_with_longer_settling() -> None:
    script = Transcript(SIZES).warmed("middle", "large")
    request_id = script.asks("other")
    victim = script.one(fx.Unload).model
    script.unloads(victim)
    script.settles()
    script.loads("other", vram_gib=3.0)
    assert script.one(fx.Unload).cause is Cause.SPILL
    assert not script.of(fx.Forward)
    script.unloads("other")
    assert script.one(fx.Settle).seconds == pytest.approx(2.0)
    script.settles(2.0)
    script.loads("other", vram_gib=3.0)
    assert script.one(fx.Forward).request_id == request_id  # spilled again: better slow than never
    loads = [effect for effect in script.log if isinstance(effect, fx.Loaded) and effect.model == "other:latest"]
    assert [(load.cause, load.spilled_bytes) for load in loads] == [(Cause.COLD, 6 * GIB), (Cause.SPILL, 6 * GIB)]


def test_a_load_waits_for_a_touch_on_its_way_because_it_must_not_overtake_it() -> None:
    script = Transcript(SIZES).warmed("small")
    script.engine.state.touching.add("small:latest")
    script.asks("middle")
    script.settles(0.02)
    assert not script.of(fx.Load)
    script.happens(ev.TouchEnded(script.at + 0.01, "small:latest"))
    assert script.one(fx.Load).model == "middle:latest"


def test_an_answer_of_ps_from_before_the_load_is_not_believed() -> None:
    script = Transcript(SIZES)
    script.ps()
    asked_at = script.at
    script.asks("small")
    script.after(2).happens(ev.LoadEnded(script.at, "small:latest", 2.0))
    script.happens(ev.ResidentsObserved(script.at, asked_at, ()))
    assert "small:latest" in script.engine.state.residents
    assert script.one(fx.Observe)


def test_what_ollama_believes_is_noted_at_each_load() -> None:
    script = Transcript(SIZES).warmed("middle", "small")
    residents = script.engine.state.residents
    assert residents["middle:latest"].believed_bytes(24 * GIB) == 15 * GIB  # 24 were free, it took 9
    assert residents["small:latest"].believed_bytes(24 * GIB) == 11 * GIB  # 15 were free, it took 4


def test_of_a_model_that_others_loaded_the_belief_is_unknown() -> None:
    script = Transcript(SIZES)
    script.ps(script.line("middle"))
    assert script.engine.state.residents["middle:latest"].others_bytes is None


def test_an_eviction_by_ollama_during_our_load_is_noticed_and_its_time_not_learnt_as_load_time() -> None:
    script = Transcript(SIZES).warmed("small")
    script.asks("middle")
    script.settles(0.02)
    del script.resident["small:latest"]
    script.loads("middle", seconds=60.0)
    assert fx.Left("small:latest", Cause.UPSTREAM, 4 * GIB) in script.effects
    assert script.engine.state.usage.own_load_seconds("middle:latest", page_cache_warm=False) is None


def test_two_loads_are_never_under_way_at_once() -> None:
    script = Transcript(SIZES)
    script.ps()
    script.asks("small")
    script.asks("middle")
    assert [e.model for e in script.log if isinstance(e, fx.Load)] == ["small:latest"]
    script.loads("small")
    script.settles(0.02)
    assert [e.model for e in script.log if isinstance(e, fx.Load)] == ["small:latest", "middle:latest"]


def test_being_asked_for_soon_after_an_eviction_counts_as_regret() -> None:
    script = Transcript(SIZES).warmed("middle", "large")
    script.asks("other")
    victim = script.one(fx.Unload).model
    script.unloads(victim)
    script.settles()
    script.loads("other")
    script.after(30).asks(victim)
    assert script.one(fx.Regretted).seconds_since == pytest.approx(32.5)


def test_a_reloaded_model_is_noticed_by_the_load_seconds_of_its_answer() -> None:
    script = Transcript(SIZES).warmed("small")
    request_id = script.asks("small", options={"num_batch": 64})
    script.ends(request_id, figures=ev.AnswerFigures(load_seconds=5.3))
    assert script.one(fx.Observe)
    assert script.engine.state.residents["small:latest"].runs.options.values == (("num_batch", 64),)


def test_what_is_done_for_a_request_tells_its_number_and_what_is_done_for_none_tells_none() -> None:
    script = Transcript(SIZES).warmed("middle", "large")
    request_id = script.asks("other")
    victim = script.one(fx.Unload)
    script.unloads(victim.model)
    script.settles()
    load = script.one(fx.Load)
    script.loads("other")
    told = (victim.request_id, load.request_id, script.one(fx.Loaded).request_id)
    assert told == (request_id, request_id, request_id)
    script.ends(request_id)
    script.asks("other", unload=True)
    assert script.one(fx.Unload).request_id is None


def test_a_model_whose_load_went_on_while_ps_did_not_answer_counts_when_room_is_made() -> None:
    script = Transcript(SIZES)
    script.ps()
    script.asks("large")
    script.happens(ev.ResidentsUnknown(script.at, "no answer"))
    script.ps(asked_at=script.at)
    script.asks("other")
    script.asks("middle")  # 10 + 9 + 9 GiB don't fit in 24
    script.after(2).happens(ev.LoadEnded(script.at, "large:latest", 2.0))
    assert "large:latest" in script.engine.state.residents


def test_whoever_comes_while_room_is_made_is_counted_before_the_load() -> None:
    """Others loaded it beside the proxy, or Ollama did for a request that was passed on."""
    script = Transcript(SIZES).warmed("middle")
    request_id = script.asks("twenty")
    assert script.one(fx.Unload).model == "middle:latest"
    script.unloads("middle")
    script.resident["large:latest"] = script.line("large")
    script.ps()
    script.settles()
    assert script.one(fx.Unload).model == "large:latest"
    script.unloads("large")
    script.settles()
    assert script.one(fx.Load).model == "twenty:latest"
    script.loads("twenty")
    assert script.one(fx.Forward).request_id == request_id


def test_a_budget_that_shrinks_while_room_is_made_is_kept_to() -> None:
    script = Transcript(SIZES).warmed("middle", "large")
    script.asks("other")
    staying = ({"middle:latest", "large:latest"} - {script.one(fx.Unload).model}).pop()
    script.unloads(script.one(fx.Unload).model)
    script.happens(ev.SettingsChanged(script.at, replace(SETTINGS, budget_bytes=12 * GIB)))
    script.settles()
    assert script.one(fx.Unload).model == staying
