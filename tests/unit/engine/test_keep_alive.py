from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from proxy.domain import effects as fx
from proxy.domain import events as ev
from proxy.domain.effects import Cause, KeepAlive
from proxy.domain.model import Endpoint
from proxy.domain.settings import ClientKeepAlive, ModelRule
from proxy.engine import worth
from tests.unit.engine.transcript import GIB, Transcript

if TYPE_CHECKING:
    from proxy.engine.state import Resident

SIZES = {"small": 4.0, "middle": 9.0, "large": 10.0, "other": 9.0}
MINUTE, HOUR, DAY = 60, 3600, 86400
DEAR = 100.0  # seconds of waiting per GiB·hour: every model's worth ends before the minimum of 5 minutes


def written(script: Transcript, model: str) -> int | KeepAlive:
    """The keep_alive that a request for the resident model is given now."""
    request_id = script.asks(model)
    value = script.forwarded()[request_id].keep_alive
    script.ends(request_id)
    return value


def resident(script: Transcript, model: str) -> Resident:
    return script.engine.state.residents[f"{model}:latest"]


# What the client itself asks for


@pytest.mark.parametrize(
    ("mode", "asked", "expected"),
    [
        (ClientKeepAlive.IGNORE, None, 5 * MINUTE),
        (ClientKeepAlive.IGNORE, 20.0, 5 * MINUTE),
        (ClientKeepAlive.IGNORE, -1.0, 5 * MINUTE),
        (ClientKeepAlive.RESPECT, None, 5 * MINUTE),
        (ClientKeepAlive.RESPECT, 20.0, KeepAlive.AS_IT_CAME),
        (ClientKeepAlive.RESPECT, 30.0 * DAY, KeepAlive.AS_IT_CAME),
        (ClientKeepAlive.RESPECT, -1.0, KeepAlive.AS_IT_CAME),
        (ClientKeepAlive.AT_LEAST, None, 5 * MINUTE),
        (ClientKeepAlive.AT_LEAST, 20.0, 5 * MINUTE),
        (ClientKeepAlive.AT_LEAST, 2.0 * HOUR, 2 * HOUR),
        (ClientKeepAlive.AT_LEAST, 30.0 * DAY, DAY),  # the maximum: a dead proxy must not hold memory for ever
        (ClientKeepAlive.AT_LEAST, -1.0, DAY),
        (ClientKeepAlive.AT_MOST, None, 5 * MINUTE),
        (ClientKeepAlive.AT_MOST, 20.0, 20),
        (ClientKeepAlive.AT_MOST, 2.0 * HOUR, 5 * MINUTE),
        (ClientKeepAlive.AT_MOST, -1.0, 5 * MINUTE),
    ],
)
def test_what_becomes_of_the_clients_own_keep_alive(
    mode: ClientKeepAlive, asked: float | None, expected: int | KeepAlive
) -> None:
    script = Transcript(SIZES, client_keep_alive=mode, price_seconds_per_gib_hour=DEAR).warmed("small")
    script.asks("small", keep_alive=asked)
    assert script.one(fx.Forward).keep_alive == expected


def test_a_models_own_rule_decides_about_the_clients_keep_alive_before_the_general_one() -> None:
    rules = [("small", ModelRule(client_keep_alive=ClientKeepAlive.RESPECT))]
    script = Transcript(SIZES, rules).warmed("small", "middle")
    script.asks("small", keep_alive=20)
    assert script.one(fx.Forward).keep_alive is KeepAlive.AS_IT_CAME
    script.asks("middle", keep_alive=20)
    assert script.one(fx.Forward).keep_alive != KeepAlive.AS_IT_CAME


def test_an_openai_request_is_never_changed_whatever_the_client_may_decide() -> None:
    script = Transcript(SIZES, client_keep_alive=ClientKeepAlive.AT_LEAST).warmed("small")
    script.asks("small", endpoint=Endpoint.V1_MESSAGES)
    assert script.one(fx.Forward).keep_alive is KeepAlive.AS_IT_CAME


@pytest.mark.parametrize("mode", [ClientKeepAlive.RESPECT, ClientKeepAlive.AT_LEAST])
def test_a_model_is_not_given_back_before_the_time_that_a_client_was_granted(mode: ClientKeepAlive) -> None:
    script = Transcript(SIZES, client_keep_alive=mode, price_seconds_per_gib_hour=DEAR).warmed("small")
    script.ends(script.asks("small", keep_alive=2 * HOUR))
    script.after(HOUR).ticks()
    assert not script.of(fx.Unload)


@pytest.mark.parametrize(
    ("mode", "asked", "expected"),
    [
        (ClientKeepAlive.RESPECT, 2 * HOUR, 2 * HOUR),
        (ClientKeepAlive.AT_LEAST, 10 * HOUR, 10 * HOUR),
        (ClientKeepAlive.AT_MOST, 20, 20),
    ],
)
def test_what_a_client_decided_is_when_the_model_is_expected_to_expire(
    mode: ClientKeepAlive, asked: int, expected: int
) -> None:
    script = Transcript(SIZES, client_keep_alive=mode).warmed("small")
    script.ends(script.asks("small", keep_alive=asked))
    assert resident(script, "small").expires_at == script.at + expected


def test_a_keep_alive_without_end_that_a_client_decided_is_believed_when_ps_shows_it() -> None:
    script = Transcript(SIZES, client_keep_alive=ClientKeepAlive.RESPECT).warmed("small")
    script.ends(script.asks("small", keep_alive=-1))
    script.ps(script.line("small", expires_in=math.inf))
    assert resident(script, "small").expires_at == math.inf
    script.after(30 * DAY).ticks()
    assert not script.of(fx.Unload)


# never_keep


NEVER = [("small", ModelRule(never_keep=True))]


def test_a_model_that_is_never_kept_is_given_0_and_cleared_when_its_last_request_ends() -> None:
    script = Transcript(SIZES, NEVER).warmed("middle")
    first = script.asks("small")
    script.settles(0.02)
    script.loads("small")
    assert script.forwarded()[first].keep_alive == 0
    second = script.asks("small")
    assert script.forwarded()[second].keep_alive == 0
    script.ends(first)
    assert not script.of(fx.Unload)
    script.ends(second)
    unload = script.one(fx.Unload)
    assert (unload.model, unload.cause) == ("small:latest", Cause.EXPIRY)


def test_beside_an_openai_request_no_touch_says_0_because_that_would_unload_under_it() -> None:
    script = Transcript(SIZES, NEVER)
    script.ps()
    request_id = script.asks("small", endpoint=Endpoint.V1_CHAT)
    script.loads("small")
    later = script.asks("small", endpoint=Endpoint.V1_EMBEDDINGS)
    assert {f.keep_alive for f in script.forwarded().values()} == {KeepAlive.AS_IT_CAME}
    assert not any(isinstance(effect, fx.Touch) for effect in script.log)
    script.ends(request_id)
    assert not script.of(fx.Unload)
    script.ends(later)
    assert script.one(fx.Unload).cause is Cause.EXPIRY


def test_a_model_that_is_never_kept_leaves_even_if_its_client_has_gone_or_its_answer_failed() -> None:
    for ending in (ev.Ending.CLIENT_GONE, ev.Ending.UPSTREAM_ERROR):
        script = Transcript(SIZES, NEVER)
        script.ps()
        request_id = script.asks("small")
        script.loads("small")
        script.ends(request_id, ending)
        assert script.one(fx.Unload).model == "small:latest"


@pytest.mark.parametrize("polled", [False, True])
def test_a_model_that_is_never_kept_is_not_unloaded_under_a_request_that_came_before_it_was_cleared(
    *, polled: bool
) -> None:
    script = Transcript(SIZES, [("small", ModelRule(never_keep=True))])
    script.ps()
    first = script.asks("small")
    script.loads("small")
    script.asks("middle")
    script.settles(0.02)
    script.ends(first)  # to be cleared as soon as the load of the other is over
    if polled:
        script.ps()
    second = script.asks("small")
    script.loads("middle")
    unloads = [effect for effect in script.log if isinstance(effect, fx.Unload)]
    assert not (unloads and second in script.forwarded()), "unloaded while a request runs on it"


# pin, weight, bounds per pattern


def test_a_pinned_model_is_given_the_longest_time_of_all_and_a_finite_one() -> None:
    rules = [("small", ModelRule(pin=True)), ("middle", ModelRule(weight=1000.0))]
    script = Transcript(SIZES, rules, price_seconds_per_gib_hour=0.0).warmed("middle", "small")
    pinned, other = written(script, "small"), written(script, "middle")
    assert isinstance(pinned, int)
    assert isinstance(other, int)
    assert other == DAY
    assert DAY < pinned <= DAY + 2


PINNED = [("small", ModelRule(pin=True))]


def test_a_pinned_models_timer_is_wound_up_again_before_it_runs_out() -> None:
    script = Transcript(SIZES, PINNED, keep_alive_max_seconds=1000.0).warmed("small")
    script.ticks()  # the one that was due while it was used
    for _ in range(3):
        wake = next(effect for effect in reversed(script.log) if isinstance(effect, fx.WakeAt))
        assert script.at < wake.at < resident(script, "small").expires_at - 1
        script.at = wake.at
        script.ticks()
        touch = script.one(fx.Touch)
        assert touch.keep_alive >= 1000
        script.after(0.01).happens(ev.TouchEnded(script.at, "small:latest"))
        assert resident(script, "small").expires_at == script.at + touch.keep_alive


@pytest.mark.parametrize("loaded_by_us", [False, True])
def test_a_pinned_model_that_others_gave_a_short_time_is_wound_up_in_time_too(*, loaded_by_us: bool) -> None:
    script = Transcript(SIZES, PINNED)
    if loaded_by_us:
        script.warmed("small")
    script.ps(script.line("small", expires_in=20))
    expires_at = script.at + 20
    if not script.of(fx.Touch):
        script.at = script.one(fx.WakeAt).at
        script.ticks()
    assert script.one(fx.Touch).keep_alive > DAY
    assert script.at <= expires_at - 1  # at the very moment it would come too late, and load the model


def test_a_touch_of_a_pinned_model_that_fails_is_not_sent_again_at_once() -> None:
    script = Transcript(SIZES, PINNED).warmed("small")
    script.at = resident(script, "small").expires_at
    script.ticks()
    for _ in range(3):
        if script.of(fx.Touch):
            script.after(0.001).happens(ev.TouchEnded(script.at, "small:latest", "model not found"))
    assert not script.of(fx.Touch)


def test_a_weightier_model_is_kept_longer() -> None:
    kept = [
        resident(
            Transcript(
                SIZES, [("small", ModelRule(weight=weight))], price_seconds_per_gib_hour=1.0, keep_alive_min_seconds=0.0
            ).warmed("small"),
            "small",
        ).ttl_seconds
        for weight in (0.1, 1.0, 10.0)
    ]
    assert kept[0] < kept[1] < kept[2]


@pytest.mark.parametrize(
    ("price", "pattern", "expected"),
    [(DEAR, "s*", 1000), (0.0, "s*", 2000), (DEAR, "small:latest", 1000), (0.0, "x*", DAY), (DEAR, "x*", 300)],
)
def test_the_bounds_of_the_models_own_pattern_hold(price: float, pattern: str, expected: int) -> None:
    rules = [(pattern, ModelRule(min_seconds=1000.0, max_seconds=2000.0))]
    script = Transcript(SIZES, rules, price_seconds_per_gib_hour=price).warmed("small")
    assert written(script, "small") == expected


@pytest.mark.parametrize("policy", ["fixed", "lru"])
def test_the_plain_policies_keep_every_model_for_the_maximum(policy: str) -> None:
    rules = [("middle", ModelRule(max_seconds=600.0))]
    script = Transcript(SIZES, rules, policy=policy, price_seconds_per_gib_hour=DEAR).warmed("small")
    assert written(script, "small") == DAY
    assert resident(script.warmed("middle"), "middle").ttl_seconds == 600


# How long a decision holds


def test_a_decision_holds_for_ten_seconds() -> None:
    script = _one_weighty_and_one_that_clients_may_keep()
    held = written(script, "small")
    script.after(9.0).ends(script.asks("middle", keep_alive=5 * HOUR))
    assert written(script, "small") == held
    script.after(1.1)
    assert written(script, "small") == 5 * HOUR + 1  # above the one that is worth less


def test_a_decision_does_not_hold_over_a_change_of_the_residents() -> None:
    script = _one_weighty_and_one_that_clients_may_keep()
    written(script, "small")
    script.after(0.1).ends(script.asks("middle", keep_alive=5 * HOUR))
    script.asks("large")
    script.settles(0.02)
    script.loads("large", seconds=0.1)
    assert written(script, "small") == 5 * HOUR + 1


def test_a_decision_does_not_hold_over_a_change_of_the_settings() -> None:
    script = Transcript(SIZES).warmed("small")
    written(script, "small")
    changed = replace(script.engine.state.settings, keep_alive_min_seconds=100.0, keep_alive_max_seconds=100.0)
    script.happens(ev.SettingsChanged(script.at, changed))
    assert written(script, "small") == 100


def _one_weighty_and_one_that_clients_may_keep() -> Transcript:
    rules = [
        ("small", ModelRule(weight=1000.0)),
        ("middle", ModelRule(client_keep_alive=ClientKeepAlive.AT_LEAST)),
    ]
    script = Transcript(SIZES, rules, price_seconds_per_gib_hour=DEAR, budget_bytes=100 * GIB)
    return script.warmed("middle", "small").after(60)


# The order of the losses


def test_a_model_worth_more_is_never_left_with_less_than_the_one_that_is_written_to() -> None:
    # Ollama evicts by these numbers: the weighty one was given 5 minutes, then the other one is given 5 hours.
    script = _one_weighty_and_one_that_clients_may_keep()
    written(script, "small")
    script.after(2).ends(script.asks("middle", keep_alive=5 * HOUR))
    script.after(10).ticks()
    assert resident(script, "small").written > resident(script, "middle").written


def test_two_models_that_take_turns_do_not_drive_each_others_keep_alive_above_the_maximum() -> None:
    script = Transcript(SIZES, price_seconds_per_gib_hour=DEAR, keep_alive_max_seconds=320.0).warmed("middle", "other")
    for _ in range(30):  # each time the one just used is the one worth more
        written(script.after(2), "middle")
        written(script.after(2), "other")
    assert max(r.written for r in script.engine.state.residents.values()) <= 320 + 2


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(SIZES)), st.sampled_from([1.5, 20.0, 400.0, 4000.0])), max_size=25),
    st.sampled_from([0.0, 0.005, 0.5]),
)
def test_after_a_few_idle_seconds_the_numbers_stand_in_the_order_of_the_losses_and_none_is_for_ever(
    history: list[tuple[str, float]], price: float
) -> None:
    script = Transcript(SIZES, price_seconds_per_gib_hour=price, budget_bytes=100 * GIB, max_models=4)
    script.ps()
    for model, pause in history:
        _what_expired_is_gone(script.after(pause))
        if f"{model}:latest" not in script.engine.state.residents:
            script.warmed(model)
        else:
            written(script, model)
        script.after(3)
        for _ in range(len(SIZES) + 1):  # whatever has expired goes first, one by one
            script.ticks()
            _everything_is_carried_out(script)
        state = script.engine.state
        loss = {r: worth.loss(state, r, script.at).seconds for r in state.residents}
        numbers = {r.model: r.written for r in state.residents.values()}
        assert all(300 <= number <= DAY + len(SIZES) for number in numbers.values())
        assert all(numbers[a] < numbers[b] for a in loss for b in loss if loss[a] < loss[b] * (1 - 1e-9))


def _what_expired_is_gone(script: Transcript) -> None:
    for expired in [r.model for r in script.engine.state.residents.values() if r.expires_at <= script.at]:
        del script.resident[expired]
    script.ps()
    _everything_is_carried_out(script)


def _everything_is_carried_out(script: Transcript) -> None:
    while script.todo:
        script.carries_out()
