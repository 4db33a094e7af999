from __future__ import annotations

import pytest

from proxy.domain import effects as fx
from proxy.domain import events as ev
from proxy.domain.effects import KeepAlive
from proxy.domain.model import Endpoint
from tests.unit.engine.transcript import Transcript

SIZES = {"small": 4.0, "middle": 9.0, "large": 10.0, "other": 9.0}


def busy(script: Transcript, model: str) -> int:
    return len(script.engine.state.residents[f"{model}:latest"].serving)


@pytest.mark.parametrize("ending", list(ev.Ending))
def test_a_model_is_busy_until_its_last_request_is_over_however_it_ends(ending: ev.Ending) -> None:
    script = Transcript(SIZES).warmed("small")
    ids = [script.asks("small") for _ in range(3)]
    assert busy(script, "small") == 3
    for left, request_id in zip((2, 1, 0), ids, strict=True):
        script.ends(request_id, ending)
        assert busy(script, "small") == left
    assert not script.engine.state.in_flight


def test_an_end_that_is_told_twice_counts_once() -> None:
    script = Transcript(SIZES).warmed("small")
    first = script.asks("small")
    script.asks("small")
    script.ends(first)
    script.ends(first)
    assert busy(script, "small") == 1


def test_a_client_that_leaves_while_it_is_held_was_never_in_flight() -> None:
    script = Transcript(SIZES)
    script.ps()
    request_id = script.asks("small")
    script.ends(request_id, ev.Ending.CLIENT_GONE)
    assert not script.engine.state.held
    assert not script.engine.state.in_flight
    assert not script.of(fx.Observe)


def test_a_model_that_ollama_reloads_keeps_its_requests_in_flight() -> None:
    script = Transcript(SIZES).warmed("small")
    request_id = script.asks("small", options={"num_batch": 64})  # Ollama decides that this needs a reload
    line = script.resident.pop("small:latest")
    script.after(1).ps()
    assert "small:latest" not in script.engine.state.residents
    script.resident["small:latest"] = line
    script.after(1).ps()
    assert busy(script, "small") == 1
    script.ends(request_id)
    assert busy(script, "small") == 0


def test_a_request_that_ends_while_its_model_is_out_of_sight_is_no_longer_counted_when_it_comes_back() -> None:
    script = Transcript(SIZES).warmed("small")
    first = script.asks("small")
    line = script.resident.pop("small:latest")
    script.after(1).ps()
    script.ends(first)
    assert script.one(fx.Observe)  # whether it is there after all
    script.resident["small:latest"] = line
    script.after(1).ps()
    assert busy(script, "small") == 0


def test_requests_that_go_on_as_they_came_are_counted_on_the_model_that_ollama_loads_for_them() -> None:
    script = Transcript(SIZES)
    request_id = script.asks("small")  # /api/ps was never asked: passes
    script.ps(script.line("small"))
    assert busy(script, "small") == 1
    script.ends(request_id)
    assert busy(script, "small") == 0


def test_a_busy_model_that_passes_requests_through_is_not_unloaded_under_them() -> None:
    script = Transcript(SIZES)
    request_id = script.asks("large")
    script.ps(script.line("large"), script.line("middle"))
    script.asks("other")
    assert script.one(fx.Unload).model == "middle:latest"
    script.ends(request_id)


def test_of_a_model_that_failed_in_mid_answer_ps_is_asked_at_once() -> None:
    script = Transcript(SIZES).warmed("small")
    script.ends(script.asks("small"), ev.Ending.UPSTREAM_ERROR)
    assert script.one(fx.Observe)


def test_only_answers_teach_how_long_a_request_takes() -> None:
    script = Transcript(SIZES).warmed("small")
    usage = script.engine.state.usage
    before = usage.service_seconds("small:latest", 99.0)
    for ending in (ev.Ending.CLIENT_GONE, ev.Ending.UPSTREAM_ERROR):
        request_id = script.asks("small")
        script.after(500).ends(request_id, ending)
    assert usage.service_seconds("small:latest", 99.0) == before
    request_id = script.asks("small")
    script.after(500).ends(request_id)
    assert usage.service_seconds("small:latest", 99.0) > before


def test_the_time_that_a_request_was_held_is_no_part_of_how_long_it_takes() -> None:
    script = Transcript(SIZES)
    script.ps()
    request_id = script.asks("small")
    script.loads("small", seconds=60)
    script.after(3).ends(request_id)
    assert script.engine.state.usage.service_seconds("small:latest", 99.0) == pytest.approx(3)


def test_requests_of_which_nothing_is_known_are_in_flight_but_on_no_model() -> None:
    script = Transcript(SIZES).warmed("small")
    request_id = script.asks("nobody", known=False)
    assert len(script.engine.state.in_flight) == 1
    assert busy(script, "small") == 0
    script.ends(request_id)
    assert not script.engine.state.in_flight
    assert "nobody:latest" not in script.engine.state.usage


def test_those_who_wait_with_other_options_than_the_loaded_ones_are_not_served_by_that_load() -> None:
    script = Transcript(SIZES)
    script.ps()
    first = script.asks("small", options={"num_ctx": 8192})
    second = script.asks("small", options={"num_ctx": 16384})
    script.loads("small", context=8192)
    assert first in script.forwarded()
    assert second not in script.forwarded()
    script.ends(first)
    assert script.one(fx.Unload).model == "small:latest"


def test_those_who_wait_with_options_that_fit_are_served_by_the_same_load() -> None:
    script = Transcript(SIZES)
    script.ps()
    first = script.asks("small")
    second = script.asks("small", options={"num_ctx": 4096})
    script.loads("small", context=4096)
    assert {first, second} == set(script.forwarded())


def test_a_model_that_ps_does_not_show_after_its_load_is_left_to_ollama() -> None:
    script = Transcript(SIZES)
    script.ps()
    request_id = script.asks("small")
    script.after(2).happens(ev.LoadEnded(script.at, "small:latest", 2.0))
    script.ps()
    forward = script.forwarded()[request_id]
    assert forward.keep_alive is KeepAlive.AS_IT_CAME
    assert "not in /api/ps" in forward.reason
    assert script.engine.state.operation is None


def test_a_request_during_the_load_of_another_leaves_the_keep_alive_of_its_model_as_it_was() -> None:
    script = Transcript(SIZES).warmed("small")
    resident = script.engine.state.residents["small:latest"]
    before = resident.written
    script.asks("middle")
    script.settles(0.02)
    request_id = script.asks("small", keep_alive=7)
    assert script.forwarded()[request_id].keep_alive is KeepAlive.WITHHELD
    script.after(1).ends(request_id)
    assert resident.written == before
    assert resident.expires_at == script.at + before


def test_a_touch_that_failed_is_said_again_with_the_next_request() -> None:
    script = Transcript(SIZES).warmed("small")
    script.engine.state.residents["small:latest"].written = None
    script.asks("small", endpoint=Endpoint.V1_CHAT)
    script.happens(ev.TouchEnded(script.at, "small:latest", "/api/generate answered 500"))
    assert script.one(fx.Observe)
    script.asks("small", endpoint=Endpoint.V1_CHAT)
    assert script.one(fx.Touch)


def test_a_touch_of_a_model_that_left_meanwhile_changes_nothing() -> None:
    script = Transcript(SIZES).warmed("small")
    script.engine.state.residents["small:latest"].written = None
    request_id = script.asks("small", endpoint=Endpoint.V1_CHAT)
    script.ends(request_id)
    del script.resident["small:latest"]
    script.after(1).ps()
    for error in (None, "model not found"):
        script.happens(ev.TouchEnded(script.at, "small:latest", error))
    assert not script.engine.state.residents
    assert not script.engine.state.touching
