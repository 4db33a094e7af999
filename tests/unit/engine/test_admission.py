from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from proxy.domain import effects as fx
from proxy.domain import events as ev
from proxy.domain.effects import Cause, KeepAlive, Outcome
from proxy.domain.model import Endpoint
from proxy.domain.settings import ModelRule
from tests.unit.engine.transcript import Transcript

if TYPE_CHECKING:
    from proxy.policy import Policy, Room
    from proxy.policy.memory import Memory, Need

SIZES = {"small": 4.0, "middle": 9.0, "large": 10.0, "other": 9.0, "huge": 40.0}


def test_a_request_for_a_resident_model_goes_on_at_once_with_a_keep_alive() -> None:
    script = Transcript(SIZES).warmed("small")
    request_id = script.asks("small")
    forward = script.one(fx.Forward)
    assert (forward.request_id, forward.outcome) == (request_id, Outcome.WARM)
    assert isinstance(forward.keep_alive, int)
    assert forward.keep_alive >= 300


def test_a_cold_model_that_fits_is_loaded_first_and_then_all_who_waited_go_on_together() -> None:
    script = Transcript(SIZES)
    script.ps()
    first = script.asks("small", options={"num_ctx": 8192})
    assert script.one(fx.Load).options.num_ctx == 8192
    second = script.asks("small", options={"num_ctx": 8192})
    assert not script.of(fx.Forward)
    script.loads("small")
    assert [f.request_id for f in script.of(fx.Forward)] == [first, second]
    assert {f.outcome for f in script.of(fx.Forward)} == {Outcome.COLD}


def test_a_load_goes_on_when_the_client_that_caused_it_has_left() -> None:
    script = Transcript(SIZES)
    script.ps()
    request_id = script.asks("small")
    script.ends(request_id, ev.Ending.CLIENT_GONE)
    script.loads("small")
    assert not script.of(fx.Forward)
    script.asks("small")
    assert script.one(fx.Forward).outcome is Outcome.WARM


def test_victims_leave_before_the_load_and_their_memory_is_settled_for() -> None:
    script = Transcript(SIZES).warmed("middle", "large")
    request_id = script.asks("other")
    victim = script.one(fx.Unload)
    assert victim.model in ("middle:latest", "large:latest")
    assert not script.of(fx.Load)
    script.unloads(victim.model)
    assert script.one(fx.Settle).seconds == pytest.approx(0.5)
    script.settles()
    assert script.one(fx.Load).model == "other:latest"
    script.loads("other")
    assert script.one(fx.Forward).request_id == request_id
    assert fx.Left(victim.model, Cause.EVICTION, script.sizes[victim.model]) in script.log


def test_a_request_for_a_victim_is_held_until_the_swap_is_over() -> None:
    script = Transcript(SIZES).warmed("middle", "large")
    script.asks("other")
    victim = script.one(fx.Unload).model
    held = script.asks(victim)
    assert not script.of(fx.Forward)
    script.unloads(victim)
    script.settles()
    script.loads("other")
    assert held not in script.forwarded()
    assert held in script.engine.state.held


def test_no_keep_alive_reaches_another_model_while_a_load_is_under_way() -> None:
    script = Transcript(SIZES).warmed("small")
    script.asks("middle")
    script.settles(0.02)
    assert script.engine.state.operation.load_under_way
    script.asks("small", keep_alive=-1)
    assert script.one(fx.Forward).keep_alive is KeepAlive.WITHHELD
    script.asks("small", endpoint=Endpoint.V1_CHAT)
    assert script.one(fx.Forward).keep_alive is KeepAlive.AS_IT_CAME
    assert not script.of(fx.Touch)
    script.engine.state.residents["small:latest"].written = 60
    script.loads("middle")
    for request_id in tuple(script.engine.state.in_flight):
        script.ends(request_id)
    script.after(3).ticks()
    assert "small:latest" in {touch.model for touch in script.of(fx.Touch)}


def test_a_request_through_the_openai_endpoint_is_not_changed_and_its_model_touched_beside() -> None:
    script = Transcript(SIZES).warmed("small")
    resident = script.engine.state.residents["small:latest"]
    resident.written = None  # as after a restart of the proxy
    script.asks("small", endpoint=Endpoint.V1_CHAT)
    assert script.one(fx.Forward).keep_alive is KeepAlive.AS_IT_CAME
    touch = script.one(fx.Touch)
    assert touch.keep_alive >= 300
    script.happens(ev.TouchEnded(script.at, "small:latest"))
    script.asks("small", endpoint=Endpoint.V1_CHAT)
    assert not script.of(fx.Touch)  # Ollama keeps the last value: saying it again would cost a request each


def test_other_runner_options_unload_the_model_first_because_that_saves_five_seconds() -> None:
    script = Transcript(SIZES).warmed("small")
    request_id = script.asks("small", options={"num_ctx": 16384})
    resident = script.engine.state.residents["small:latest"]
    assert resident.leaving is Cause.RELOAD
    assert script.one(fx.Unload).cause is Cause.RELOAD
    script.unloads("small")
    script.settles()
    load = script.one(fx.Load)
    assert load.options.num_ctx == 16384
    script.loads("small", context=16384)
    assert script.one(fx.Forward).request_id == request_id
    assert any(isinstance(e, fx.Loaded) and e.cause is Cause.RELOAD for e in script.log)


def test_an_explicit_num_ctx_that_equals_the_loaded_one_reloads_nothing() -> None:
    script = Transcript(SIZES).warmed("small")
    script.asks("small", options={"num_ctx": 4096})
    assert script.one(fx.Forward).outcome is Outcome.WARM


def test_options_whose_default_is_not_known_are_left_to_ollama() -> None:
    script = Transcript(SIZES).warmed("small")
    script.asks("small", options={"num_batch": 512})
    assert script.one(fx.Forward).outcome is Outcome.WARM


def test_a_model_with_other_options_in_use_is_reloaded_when_it_runs_idle() -> None:
    script = Transcript(SIZES).warmed("small")
    busy = script.asks("small")
    script.asks("small", options={"num_ctx": 16384})
    assert not script.of(fx.Unload)
    assert not script.of(fx.Forward)
    later = script.asks("small")
    assert not script.of(fx.Forward)  # or the one who waits would starve
    script.ends(busy)
    assert script.one(fx.Unload).model == "small:latest"
    assert later in script.engine.state.held


def test_busy_victims_are_waited_for_and_admit_nobody_new() -> None:
    script = Transcript(SIZES).warmed("middle", "large")
    busy = [script.asks("middle"), script.asks("large")]
    cold = script.asks("other")
    assert not script.of(fx.Unload)
    draining = script.engine.state.draining
    assert draining
    victim = next(iter(draining))
    held = script.asks(victim)
    assert not script.of(fx.Forward)
    script.after(1).ends(busy[victim == "large:latest"])
    assert script.one(fx.Unload).model == victim
    assert {cold, held} <= set(script.engine.state.held)


def test_after_max_wait_in_vain_the_busy_models_admit_once_who_wanted_them_meanwhile() -> None:
    script = Transcript(SIZES, max_models=2).warmed("middle", "large")
    busy = {"middle:latest": script.asks("middle"), "large:latest": script.asks("large")}
    cold = script.asks("other")
    wake = script.one(fx.WakeAt)
    assert wake.at == pytest.approx(script.at + 60)
    (victim,) = script.engine.state.draining
    patient = script.asks(victim)
    assert patient not in script.forwarded()
    script.after(60.01).ticks()
    assert script.one(fx.Forward).request_id == patient  # one endless answer must not block all others
    late = script.asks(victim)
    assert late not in script.forwarded()
    script.ends(busy[victim])
    assert not script.of(fx.Unload)
    script.ends(patient)
    assert script.one(fx.Unload).model == victim
    assert cold in script.engine.state.held


def test_a_small_model_that_fits_goes_ahead_of_one_that_waits_for_busy_models() -> None:
    script = Transcript({**SIZES, "tiny": 1.0}).warmed("middle", "large")
    script.asks("middle")
    script.asks("large")
    script.asks("other")
    script.asks("tiny")
    script.settles(0.02)
    assert [e.model for e in script.log if isinstance(e, fx.Load)][-1] == "tiny:latest"


def test_a_model_bigger_than_the_budget_is_served_alone() -> None:
    script = Transcript(SIZES).warmed("small", "middle")
    script.asks("huge")
    leaving = {script.one(fx.Unload).model}
    script.unloads(next(iter(leaving)))
    leaving.add(script.one(fx.Unload).model)
    assert leaving == {"small:latest", "middle:latest"}


def test_a_pinned_model_is_never_a_victim_and_who_does_not_fit_beside_it_goes_on_as_it_came() -> None:
    script = Transcript(SIZES, rules=[("large", ModelRule(pin=True))]).warmed("large", "middle")
    script.asks("other")
    assert script.one(fx.Unload).model == "middle:latest"
    script.unloads("middle")
    script.settles()
    script.loads("other")
    alone = script.asks("huge")
    assert not script.of(fx.Unload)
    assert script.forwarded()[alone].outcome is Outcome.PASSTHROUGH


def test_an_unknown_model_goes_on_as_it_came() -> None:
    script = Transcript(SIZES)
    script.ps()
    script.asks("nobody", known=False, keep_alive=5)
    assert script.one(fx.Forward).keep_alive is KeepAlive.AS_IT_CAME
    assert not script.of(fx.Load)


def test_while_residents_are_not_known_everything_goes_on_as_it_came() -> None:
    script = Transcript(SIZES)
    first = script.asks("small")
    assert script.one(fx.Forward).keep_alive is KeepAlive.AS_IT_CAME
    script.ends(first)
    script.ps()
    waiting = script.asks("small")
    assert not script.of(fx.Forward)
    script.happens(ev.ResidentsUnknown(script.at, "/api/ps did not answer in time"))
    assert script.one(fx.Forward).request_id == waiting


def test_an_explicit_unload_is_obeyed_and_seen_through() -> None:
    script = Transcript(SIZES).warmed("small")
    request_id = script.asks("small", endpoint=Endpoint.GENERATE, keep_alive=0, unload=True)
    assert script.forwarded()[request_id].keep_alive is KeepAlive.AS_IT_CAME
    assert script.one(fx.Unload).cause is Cause.CLIENT
    held = script.asks("small")
    assert held not in script.forwarded()
    script.unloads("small")
    assert script.one(fx.Load).model == "small:latest"


def test_a_model_whose_time_may_be_up_is_looked_at_before_a_request_runs_into_a_cold_start() -> None:
    script = Transcript(SIZES).warmed("small")
    resident = script.engine.state.residents["small:latest"]
    script.at = resident.expires_at
    request_id = script.asks("small")
    assert script.one(fx.Observe)
    assert request_id not in script.forwarded()
    script.ps(asked_at=script.at)
    assert script.one(fx.Forward).outcome is Outcome.WARM


def test_two_names_of_the_same_weights_are_one_model() -> None:
    script = Transcript({**SIZES, "alias": 4.0})
    script.ps()
    first = script.asks("small", weights="sha256-small:latest")
    script.loads("small")
    script.ends(first)
    script.asks("alias", weights="sha256-small:latest")
    assert script.one(fx.Forward).outcome is Outcome.WARM


@dataclass
class Counted:
    """A policy that counts how often it is asked for room."""

    policy: Policy
    asked: int = 0

    def make_room(self, memory: Memory, need: Need) -> Room:
        self.asked += 1
        return self.policy.make_room(memory, need)

    def __getattr__(self, name: str) -> object:
        return getattr(self.policy, name)


def test_room_is_not_weighed_again_for_each_of_many_events_that_change_nothing_about_it() -> None:
    """With a dozen residents it takes milliseconds; a thousand requests would stop all others for seconds."""
    script = Transcript({"large": 20.0, **{f"small{number}": 2.0 + number / 10 for number in range(20)}}, max_models=2)
    script.warmed("large", "small0")
    running = [script.asks(model) for model in ("large", "small0") for _ in range(50)]
    counted = script.engine.state.policy = Counted(script.engine.state.policy)
    waiting = [script.after(0.001).asks(f"small{number}") for number in range(1, 20) for _ in range(5)]
    for request_id in running[1:50]:
        script.after(0.001).ends(request_id)
    assert counted.asked <= 4
    for request_id in [running[0], *running[50:]]:
        script.ends(request_id)
    while script.todo:
        script.carries_out()
        for request_id in waiting:
            if request_id in script.engine.state.in_flight:
                script.ends(request_id)
    assert set(waiting) <= set(script.forwarded())
