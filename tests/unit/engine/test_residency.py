from __future__ import annotations

import math

import pytest

from proxy.domain import effects as fx
from proxy.domain import events as ev
from proxy.domain.effects import Cause, KeepAlive, Outcome
from proxy.domain.model import Endpoint, ObservedResident, RunnerOptions
from tests.unit.engine.transcript import GIB, Transcript

SIZES = {"small": 4.0, "middle": 9.0, "large": 10.0, "other": 9.0, "stranger": 5.0}


# What others loaded


def test_models_that_others_loaded_are_residents_with_the_expiry_that_ps_shows() -> None:
    script = Transcript(SIZES)
    script.ps(script.line("stranger", expires_in=123), script.line("middle", expires_in=math.inf))
    residents = script.engine.state.residents
    assert [r.expires_at - script.at for r in residents.values()] == [123, math.inf]
    assert [(r.written, r.runs, r.idle) for r in residents.values()] == [(None, None, True)] * 2
    assert script.engine.state.used_bytes() == 14 * GIB


def test_a_model_of_which_ollama_tells_no_weights_is_known_by_its_name() -> None:
    script = Transcript(SIZES)
    script.ps(script.line("stranger", weights=""))
    script.ps(script.line("stranger", weights=""))
    assert list(script.engine.state.residents) == ["stranger:latest"]
    script.asks("stranger")
    assert script.one(fx.Forward).outcome is Outcome.WARM


def test_a_model_that_others_loaded_can_be_a_victim() -> None:
    script = Transcript(SIZES)
    script.ps(script.line("stranger", weights=""), script.line("large"))
    script.asks("other")
    assert script.one(fx.Unload).model in ("stranger:latest", "large:latest")


def test_a_request_for_a_model_that_others_loaded_brings_our_keep_alive() -> None:
    script = Transcript(SIZES)
    script.ps(script.line("stranger", expires_in=20))
    script.asks("stranger")
    assert script.one(fx.Forward).keep_alive >= 300


def test_a_model_that_nobody_asked_for_is_taken_to_be_used_when_it_was_first_seen() -> None:
    script = Transcript(SIZES)
    script.ps(script.line("stranger"))
    first_seen = script.at
    script.after(60).ps(script.line("stranger"))
    assert script.engine.state.residents["stranger:latest"].last_used_at == first_seen
    assert script.engine.state.usage.last_used_at("stranger:latest") == first_seen


def test_the_size_of_what_runs_with_unknown_options_is_not_learnt() -> None:
    script = Transcript(SIZES)
    script.ps(script.line("stranger", vram_gib=2.0))
    assert not script.engine.state.learnt("stranger:latest").bytes_by_num_ctx


# What others wrote


def test_a_keep_alive_that_others_wrote_past_us_is_noticed_and_replaced_with_the_next_request() -> None:
    script = Transcript(SIZES).warmed("small")
    script.ps(script.line("small", expires_in=20))
    resident = script.engine.state.residents["small:latest"]
    assert (resident.written, resident.expires_at) == (None, script.at + 20)
    script.asks("small", endpoint=Endpoint.V1_CHAT)
    assert script.one(fx.Touch).keep_alive >= 300


def test_a_keep_alive_without_end_that_others_wrote_is_noticed() -> None:
    script = Transcript(SIZES).warmed("small")
    script.ps(script.line("small", expires_in=math.inf))
    assert script.engine.state.residents["small:latest"].written is None
    script.asks("small", endpoint=Endpoint.V1_CHAT)
    assert script.one(fx.Touch).keep_alive < 86_500


def test_ps_that_lags_a_few_seconds_behind_is_no_sign_of_others() -> None:
    script = Transcript(SIZES).warmed("small")
    resident = script.engine.state.residents["small:latest"]
    before = resident.written, resident.expires_at
    script.ps(script.line("small")._replace(expires_at=resident.expires_at - 5))
    assert (resident.written, resident.expires_at) == before


def test_while_a_model_is_busy_ps_tells_nothing_about_its_keep_alive() -> None:
    script = Transcript(SIZES).warmed("small")
    script.asks("small")
    script.ps(script.line("small", expires_in=20))
    assert script.engine.state.residents["small:latest"].written is not None


# Doubt about expiry


def test_a_model_whose_time_was_up_and_that_ps_no_longer_shows_is_loaded_for_the_request_that_waits() -> None:
    script = Transcript(SIZES).warmed("small")
    script.at = script.engine.state.residents["small:latest"].expires_at
    request_id = script.asks("small")
    assert script.one(fx.Observe)
    del script.resident["small:latest"]
    script.ps()
    assert script.one(fx.Left).cause is Cause.EXPIRY
    assert script.one(fx.Load).model == "small:latest"
    script.loads("small")
    assert script.forwarded()[request_id].outcome is Outcome.COLD


def test_several_requests_in_doubt_ask_ps_once() -> None:
    script = Transcript(SIZES).warmed("small")
    script.at = script.engine.state.residents["small:latest"].expires_at
    asked = [effect for _ in range(3) if script.asks("small") for effect in script.of(fx.Observe)]
    assert len(asked) == 1
    script.ps()
    assert len(script.of(fx.Forward)) == 3


def test_a_busy_model_is_in_no_doubt_because_its_time_has_not_begun() -> None:
    script = Transcript(SIZES).warmed("small")
    script.asks("small")
    script.after(100_000).asks("small")
    assert script.one(fx.Forward).outcome is Outcome.WARM


def test_an_upstream_whose_clock_is_behind_costs_a_look_but_never_a_loop() -> None:
    script = Transcript(SIZES)
    behind = script.line("small", expires_in=-3000)  # by its own clock it has 5 minutes left
    script.ps(behind)
    script.asks("small")
    assert script.one(fx.Observe)
    script.ps(behind)
    assert script.one(fx.Forward).outcome is Outcome.WARM


def test_expiry_is_reckoned_from_the_end_of_the_last_request_in_flight() -> None:
    script = Transcript(SIZES).warmed("small")
    first, second = script.asks("small"), script.asks("small")
    resident = script.engine.state.residents["small:latest"]
    script.after(100).ends(first)
    script.after(100).ends(second)
    assert resident.expires_at == script.at + resident.written


# What left


@pytest.mark.parametrize(("seconds_before", "cause"), [(1.0, Cause.EXPIRY), (200.0, Cause.UPSTREAM)])
def test_a_model_that_is_gone_has_expired_if_its_time_was_up_else_ollama_or_others_unloaded_it(
    seconds_before: float, cause: Cause
) -> None:
    script = Transcript(SIZES).warmed("small")
    script.at = script.engine.state.residents["small:latest"].expires_at - seconds_before
    del script.resident["small:latest"]
    script.ps()
    assert script.one(fx.Left) == fx.Left("small:latest", cause, 4 * GIB)


def test_a_model_that_a_request_was_just_sent_to_is_not_missed_in_an_older_answer() -> None:
    script = Transcript(SIZES).warmed("small")
    asked_at = script.at
    script.after(0.5).asks("small")
    script.after(0.5).happens(ev.ResidentsObserved(script.at, asked_at, ()))
    assert "small:latest" in script.engine.state.residents


def test_an_answer_from_before_an_unload_does_not_bring_the_model_back() -> None:
    script = Transcript(SIZES).warmed("small", "middle")
    asked_at, lines = script.at, tuple(script.resident.values())
    script.asks("small", endpoint=Endpoint.GENERATE, keep_alive=0, unload=True)
    script.unloads("small")
    script.happens(ev.ResidentsObserved(script.at + 0.1, asked_at, lines))
    assert "small:latest" not in script.engine.state.residents
    assert script.one(fx.Observe)


def test_a_victim_that_left_by_itself_is_not_reported_twice() -> None:
    script = Transcript(SIZES).warmed("middle", "large")
    script.asks("other")
    victim = script.one(fx.Unload).model
    del script.resident[victim]
    script.after(0.01).ps()
    assert not script.of(fx.Left)  # its unload is about to be reported
    script.unloads(victim)
    assert [e.model for e in script.log if isinstance(e, fx.Left)] == [victim]


# What ps tells of those that stay


def test_the_size_that_ps_shows_is_learnt_by_the_context_that_was_asked_for_and_by_what_it_came_to() -> None:
    script = Transcript(SIZES)
    script.ps()
    for num_ctx, gib in ((None, 4.0), (16384, 6.0)):
        request_id = script.asks("small", options={"num_ctx": num_ctx} if num_ctx else None)
        while not isinstance(script.todo[0], fx.Load):
            script.carries_out()
        script.loads("small", context=num_ctx or 4096, gib=gib)
        script.ends(request_id)
        script.after(10)
    learnt = script.engine.state.learnt("small:latest")
    assert learnt.bytes_by_num_ctx == {None: 4 * GIB, 4096: 4 * GIB, 16384: 6 * GIB}
    assert learnt.automatic_context == 4096


def test_no_more_than_16_contexts_are_remembered_of_a_model() -> None:
    script = Transcript(SIZES).warmed("small")
    resident = script.engine.state.residents["small:latest"]
    for num_ctx in range(1, 40):
        resident.runs = resident.runs._replace(options=RunnerOptions((("num_ctx", num_ctx),)))
        script.ps()
    assert len(script.engine.state.learnt("small:latest").bytes_by_num_ctx) == 16


def test_a_resident_that_spilled_later_is_seen_with_what_is_left_of_it_on_the_gpu() -> None:
    script = Transcript(SIZES).warmed("small")
    script.ps(script.line("small", vram_gib=1.0))
    assert script.engine.state.used_bytes() == GIB


def test_a_model_that_runs_on_the_cpu_takes_no_gpu_memory_and_is_served_all_the_same() -> None:
    script = Transcript(SIZES, budget_bytes=None)
    script.ps()
    request_id = script.asks("small")
    script.loads("small", vram_gib=0.0)
    while request_id not in script.forwarded():
        script.loads("small", vram_gib=0.0) if isinstance(script.todo[0], fx.Load) else script.carries_out()
    assert script.forwarded()[request_id].outcome is Outcome.COLD
    script.ends(request_id)
    script.asks("small")
    assert script.one(fx.Forward).keep_alive >= 300


# While nothing is known


def test_when_ps_answers_again_requests_are_managed_again() -> None:
    script = Transcript(SIZES).warmed("small")
    script.happens(ev.ResidentsUnknown(script.at, "/api/ps did not answer in time"))
    request_id = script.asks("small")
    forward = script.one(fx.Forward)
    assert (forward.outcome, forward.keep_alive) == (Outcome.PASSTHROUGH, KeepAlive.AS_IT_CAME)
    assert "did not answer in time" in forward.reason
    script.ends(request_id)
    script.ps()
    script.asks("small")
    assert script.one(fx.Forward).outcome is Outcome.WARM


def test_a_load_that_was_begun_before_ps_fell_silent_is_reported_to_nobody_and_nothing_is_stuck() -> None:
    script = Transcript(SIZES)
    script.ps()
    script.asks("small")
    assert script.one(fx.Load)
    script.happens(ev.ResidentsUnknown(script.at, "no answer"))
    assert script.one(fx.Forward).outcome is Outcome.PASSTHROUGH
    script.loads("small")
    assert script.engine.state.operation is None
    assert list(script.engine.state.residents) == ["small:latest"]
    script.asks("small")
    assert script.one(fx.Forward).outcome is Outcome.WARM


def test_what_others_evicted_while_ps_was_silent_is_seen_when_it_answers() -> None:
    script = Transcript(SIZES).warmed("small", "middle")
    script.happens(ev.ResidentsUnknown(script.at, "no answer"))
    script.ps(ObservedResident("stranger:latest", 5 * GIB, 5 * GIB, 4096, script.at + 60, "sha256-stranger"))
    assert list(script.engine.state.residents) == ["stranger:latest"]
    assert {left.model for left in script.of(fx.Left)} == {"small:latest", "middle:latest"}
