from __future__ import annotations

import json
import logging
import random
import time
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

import pytest

from proxy.domain.effects import Outcome
from proxy.domain.events import Ending, RequestArrived, ResidentsObserved, SettingsChanged
from proxy.domain.model import Endpoint, ModelRequest, ObservedResident, RunnerOptions
from proxy.domain.snapshot import Waits
from proxy.domain.units import GIB
from proxy.sim.shadow.shadow import MAX_HELD, Shadow
from tests.unit.sim.shadow.requests_over import NOON, SETTINGS, engine_that_knows, facts, over, shadow_of, tell

if TYPE_CHECKING:
    from proxy.domain.timeline import FinishedRequest

SMALL, LARGE, OTHER = facts("small:latest", 2 * GIB), facts("large:latest", 17 * GIB), facts("other:latest", 16 * GIB)
LOADS = ((SMALL, 1.0), (LARGE, 6.0), (OTHER, 5.0))


def compared(*requests: FinishedRequest, shadow: Shadow | None = None) -> Waits:
    """What was waited by these requests."""
    shadow = shadow or shadow_of(engine_that_knows(LOADS))
    tell(shadow, requests)
    saved = shadow.snapshot(max(request.at for request in requests) + 3600.0)
    assert saved is not None
    return saved.since_start


def test_a_model_that_keepwarm_kept_and_ollama_would_not_have_is_waiting_saved() -> None:
    assert compared(
        over(NOON, LARGE, outcome=Outcome.COLD, waited=7.0), over(NOON + 400, LARGE), over(NOON + 500, LARGE)
    ) == Waits(7.0, 12.0)


def test_a_model_that_keepwarm_evicted_and_ollama_would_not_have_is_waiting_added() -> None:
    cold = {"outcome": Outcome.COLD, "waited": 1.5}
    assert compared(over(NOON, SMALL, **cold), over(NOON + 100, SMALL, **cold)) == Waits(3.0, 1.0)


@pytest.mark.parametrize(("keep_alive", "loads"), [(None, 2), (60.0, 2), (0.0, 2), (500.0, 1), (-1.0, 1)], ids=str)
def test_ollama_alone_keeps_a_model_as_long_as_the_client_asked(keep_alive: float | None, loads: int) -> None:
    first, again = over(NOON, SMALL, keep_alive=keep_alive), over(NOON + 400, SMALL)
    assert compared(first, again) == Waits(0.0, loads * 1.0)


def test_what_ollama_loaded_for_a_request_that_passed_as_it_came_is_waiting_too() -> None:
    assert compared(over(NOON, SMALL, outcome=Outcome.PASSTHROUGH, told=2.5)) == Waits(2.5, 1.0)


def test_what_nobody_knows_is_counted_on_neither_side() -> None:
    unknown = over(NOON, LARGE, outcome=Outcome.PASSTHROUGH, told=None)
    assert compared(unknown, over(NOON + 10, LARGE)) == Waits(0.0, 0.0)  # but it did load the model


@pytest.mark.parametrize(
    "changed",
    [
        {"ending": Ending.UPSTREAM_ERROR},
        {"status": 404},
        {"status": 503},
        {"known": False, "facts": None},
    ],
    ids=str,
)
def test_requests_that_failed_or_were_refused_are_left_out(changed: dict[str, Any]) -> None:
    assert compared(over(NOON, LARGE, waited=3.0, outcome=Outcome.COLD, **changed)) == Waits(0.0, 0.0)


def test_who_gave_up_waiting_is_counted_with_as_long_a_wait_at_most() -> None:
    gone = {"outcome": Outcome.COLD, "ending": Ending.CLIENT_GONE, "status": 0, "forward": None, "told": None}
    assert compared(over(NOON, LARGE, waited=2.0, service=0.0, **gone)) == Waits(2.0, 2.0)
    assert compared(over(NOON, LARGE, waited=20.0, service=0.0, **gone)) == Waits(20.0, 6.0)


def test_a_client_that_unloads_a_model_does_so_there_too() -> None:
    unload = over(NOON + 10, SMALL, is_unload=True, keep_alive=0.0, outcome=Outcome.PASSTHROUGH)
    assert compared(over(NOON, SMALL), unload, over(NOON + 20, SMALL)) == Waits(0.0, 2.0)


def test_another_context_makes_ollama_alone_load_again_unless_it_is_the_models_own() -> None:
    wide = RunnerOptions((("num_ctx", 16384),))
    assert compared(over(NOON, SMALL), over(NOON + 50, SMALL, options=wide)).alone_seconds > 2.0
    own = replace(SMALL, default_num_ctx=16384)
    assert compared(over(NOON, own), over(NOON + 50, own, options=wide)) == Waits(0.0, 1.0)


def test_options_that_are_no_numbers_break_nothing() -> None:
    assert compared(over(NOON, SMALL, options=RunnerOptions((("num_ctx", "many"),)))) == Waits(0.0, 1.0)


def test_what_is_loaded_when_keepwarm_starts_is_so_for_ollama_alone() -> None:
    shadow = shadow_of(engine_that_knows(LOADS))
    there = ObservedResident(SMALL.model, 2 * GIB, 2 * GIB, weights=SMALL.weights)
    shadow.observe(ResidentsObserved(NOON, NOON, (there,)), [])
    assert compared(over(NOON + 1, SMALL), shadow=shadow) == Waits(0.0, 0.0)


def test_what_keepwarm_loads_for_the_first_request_is_not_loaded_before_it_for_ollama_alone() -> None:
    shadow = shadow_of(engine_that_knows(LOADS))
    shadow.observe(ResidentsObserved(NOON, NOON, ()), [])
    shadow.observe(RequestArrived(NOON + 1, 1, ModelRequest(SMALL.model, Endpoint.CHAT), SMALL), [])
    loaded = ObservedResident(SMALL.model, 2 * GIB, 2 * GIB, weights=SMALL.weights)
    shadow.observe(ResidentsObserved(NOON + 3, NOON + 3, (loaded,)), [])
    assert compared(over(NOON + 1, SMALL, outcome=Outcome.COLD, waited=1.0), shadow=shadow) == Waits(1.0, 1.0)


def test_where_nothing_was_seen_before_the_first_request_the_first_look_counts() -> None:
    shadow = shadow_of(engine_that_knows(LOADS))
    shadow.observe(RequestArrived(NOON + 1, 1, ModelRequest(SMALL.model, Endpoint.CHAT), SMALL), [])
    there = ObservedResident(SMALL.model, 2 * GIB, 2 * GIB, weights=SMALL.weights)
    shadow.observe(ResidentsObserved(NOON + 2, NOON + 2, (there,)), [])
    shadow.observe(ResidentsObserved(NOON + 7, NOON + 7, ()), [])
    assert compared(over(NOON + 1, SMALL), shadow=shadow) == Waits(0.0, 0.0)


def test_a_gpu_whose_memory_turns_out_to_be_small_holds_less() -> None:
    engine = engine_that_knows(LOADS)
    shadow = shadow_of(engine)
    requests = [over(NOON + 50 * number, (LARGE, SMALL)[number % 2]) for number in range(40)]
    roomy = compared(*requests, shadow=shadow).alone_seconds
    engine.handle(SettingsChanged(NOON, replace(SETTINGS, budget_bytes=17 * GIB)))
    again = [request._replace(at=request.at + 10_000) for request in requests]
    assert compared(*again, shadow=shadow).alone_seconds - roomy > 10 * roomy


def test_requests_are_taken_up_in_the_order_of_their_arrival_however_late_they_end() -> None:
    live = {NOON}
    shadow = Shadow(engine_that_knows(LOADS), lambda: min(live, default=inf))
    long, short = over(NOON, LARGE, service=1000.0), over(NOON + 100, LARGE)
    tell(shadow, [short])
    before = shadow.snapshot(NOON + 500)
    assert before is not None
    assert before.since_start == Waits(0.0, 0.0)  # not before the long one is over
    live.clear()
    assert compared(long, shadow=shadow) == Waits(0.0, 6.0)  # the short one found the model busy, not gone


def test_a_request_without_end_holds_up_no_more_than_some_thousand_others() -> None:
    shadow = Shadow(engine_that_knows(LOADS), lambda: NOON)
    requests = [over(NOON + 1 + number, SMALL) for number in range(2 * MAX_HELD)]
    assert compared(*requests, shadow=shadow).alone_seconds == 1.0
    assert len(shadow._finished) <= MAX_HELD  # noqa: SLF001 - that it is bounded shows nowhere else
    late = over(NOON, LARGE, service=1e5)
    assert compared(late, shadow=shadow).alone_seconds == 1.0  # left out


def test_more_than_a_thousand_models_take_no_more_room_than_a_thousand() -> None:
    shadow = shadow_of(engine_that_knows(()))
    tell(shadow, [over(NOON + 400 * number, facts(f"m{number}:latest")) for number in range(1500)])
    shadow.snapshot(NOON + 1e6)
    assert len(shadow._kinds) <= 1000  # noqa: SLF001 - that it is bounded shows nowhere else


def test_a_failure_switches_it_off_with_a_word_and_reaches_nobody(caplog: pytest.LogCaptureFixture) -> None:
    shadow = shadow_of(engine_that_knows(LOADS))
    with caplog.at_level(logging.ERROR):
        tell(shadow, [over(NOON, SMALL, facts="none")])
        assert shadow.snapshot(NOON + 1) is None
    (record,) = caplog.records
    assert "switched off" in record.message
    tell(shadow, [over(NOON + 10, SMALL)])
    assert shadow.snapshot(NOON + 20) is None
    assert len(caplog.records) == 1


def test_switched_off_it_compares_nothing_and_on_again_it_goes_on_counting() -> None:
    shadow = shadow_of(engine_that_knows(LOADS))
    compared(over(NOON, SMALL), shadow=shadow)
    shadow.switch(on=False)
    tell(shadow, [over(NOON + 5000, LARGE)])
    assert shadow.snapshot(NOON + 5100) is None
    shadow.switch(on=True)
    assert compared(over(NOON + 6000, SMALL), shadow=shadow) == Waits(0.0, 2.0)


def test_the_days_are_remembered_over_a_restart_and_what_is_no_state_is_said(caplog: pytest.LogCaptureFixture) -> None:
    before, after = shadow_of(engine_that_knows(LOADS)), shadow_of(engine_that_knows(LOADS))
    tell(before, [over(NOON, SMALL)])
    after.restore(json.loads(json.dumps({"version": 1, **before.to_state(NOON + 10)})))
    saved = after.snapshot(NOON + 20)
    assert saved is not None
    assert (saved.alone_seconds, saved.since_start) == (1.0, Waits(0.0, 0.0))
    after.restore(None)
    after.restore({"version": 1})  # of an earlier keepwarm
    assert not caplog.records
    after.restore({"saved": 7})
    assert "it begins anew" in caplog.text
    assert after.snapshot(NOON + 20) == saved


def test_the_same_requests_give_the_same_figures() -> None:
    dice = random.Random(5)
    requests = [over(NOON + 40 * number, dice.choice((SMALL, LARGE, OTHER))) for number in range(500)]
    assert compared(*requests) == compared(*requests)


def test_a_request_that_finds_its_model_loaded_costs_next_to_nothing() -> None:
    """A limit in microseconds would judge the machine: it is a twentieth of what a request costs that needs a load."""
    steady = [over(NOON + number, (SMALL, LARGE)[number % 2]) for number in range(20_000)]
    other = [over(NOON + 30 * number, (LARGE, OTHER)[number % 2]) for number in range(2_000)]
    assert _seconds_each(steady) < _seconds_each(other) / 3


def _seconds_each(requests: list[FinishedRequest]) -> float:
    shadow = shadow_of(engine_that_knows(LOADS))
    began = time.process_time()
    tell(shadow, requests)
    return (time.process_time() - began) / len(requests)
