from __future__ import annotations

import math

import pytest

from proxy.domain import effects as fx
from proxy.domain import events as ev
from proxy.domain.effects import Cause
from proxy.domain.settings import ModelRule
from proxy.engine.idle import leaves_at
from proxy.engine.snapshot import snapshot
from tests.unit.engine.transcript import SETTINGS, Transcript

SIZES = {"small": 4.0, "middle": 9.0, "large": 10.0, "other": 9.0}


def test_a_resident_whose_number_was_lifted_leaves_when_its_own_time_is_up() -> None:
    script = Transcript(SIZES).warmed("small")
    resident = script.engine.state.residents["small:latest"]
    resident.written = 7200
    resident.ttl_seconds = 600.0
    script.after(600).ticks()
    assert script.one(fx.Unload).cause is Cause.EXPIRY


def test_when_it_leaves_is_told_by_whichever_comes_first_its_own_time_or_ollamas_timer() -> None:
    script = Transcript(SIZES).warmed("small")
    resident = script.engine.state.residents["small:latest"]
    resident.written, resident.expires_at = 7200, resident.last_used_at + 7200
    for ttl_seconds, leaves_in in ((600.0, 600.0), (9000.0, 7200.0)):
        resident.ttl_seconds = ttl_seconds
        assert leaves_at(script.engine.state, resident) - resident.last_used_at == pytest.approx(leaves_in)
    (shown,) = snapshot(script.engine.state, script.at).residents
    assert shown.kept_until == resident.expires_at


def test_a_pinned_model_never_expires() -> None:
    script = Transcript(SIZES, rules=[("small", ModelRule(pin=True))]).warmed("small")
    script.engine.state.residents["small:latest"].ttl_seconds = 600.0
    assert leaves_at(script.engine.state, script.engine.state.residents["small:latest"]) == math.inf
    script.after(86_000).ticks()
    assert not script.of(fx.Unload)


def test_room_is_not_looked_for_before_three_idle_seconds_and_never_while_someone_waits() -> None:
    script = Transcript(SIZES).warmed("middle", "large")
    script.asks("middle")
    assert min(effect.at for effect in script.log if isinstance(effect, fx.WakeAt)) > 0
    script.after(2).ticks()
    assert not script.of(fx.Unload)
    assert script.of(fx.WakeAt)
    assert script.one(fx.WakeAt).at >= script.at + 1


def taking_turns() -> Transcript:
    """Three models that take turns; the third needs both others gone, which costs 5 s more than one unload."""
    script = Transcript({"a": 9.0, "b": 9.0, "c": 17.0}, price_seconds_per_gib_hour=0.0, warm_up=False)
    script.ps()
    for _ in range(6):
        for model in ("a", "b", "c"):
            script.ends(_served(script, model))
            script.after(20)
    script.ends(_served(script, "a"))
    return script


def test_room_is_made_ahead_when_the_next_miss_would_have_to_wait_for_two_victims() -> None:
    script = taking_turns()
    script.ends(_served(script, "b"))
    script.after(10).ticks()
    assert script.one(fx.Unload).cause is Cause.ROOM_AHEAD


def test_room_is_not_made_ahead_the_moment_a_long_load_is_over() -> None:
    script = taking_turns()
    _served(script, "b", load_seconds=8.0)
    script.ticks()
    assert not script.of(fx.Unload)
    script.after(2.9).ticks()
    assert not script.of(fx.Unload)
    script.after(0.2).ticks()
    assert script.one(fx.Unload).cause is Cause.ROOM_AHEAD


def test_without_any_event_the_engine_asks_to_be_woken_less_and_less_often() -> None:
    script = Transcript(SIZES).warmed("small", "middle")
    pauses = []
    script.after(60).ticks()
    for _ in range(8):
        wake = script.one(fx.WakeAt)
        pauses.append(wake.at - script.at)
        script.at = wake.at
        script.ticks()
        assert not script.of(fx.Unload)
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(600)


def test_new_settings_count_from_the_next_request_on() -> None:
    script = Transcript(SIZES).warmed("small")
    changed = SETTINGS.__class__(
        **{f: getattr(SETTINGS, f) for f in SETTINGS.__dataclass_fields__ if f not in ("rules", "_resolve")},
        rules=(("small", ModelRule(max_seconds=420.0)),),
    )
    script.happens(ev.SettingsChanged(script.at, changed))
    script.asks("small")
    assert script.one(fx.Forward).keep_alive == 420


def _served(script: Transcript, model: str, *, load_seconds: float = 2.0) -> int:
    """A request for the model comes, and whatever it needs is done; it is not answered yet."""
    request_id = script.asks(model)
    while request_id not in script.forwarded():
        if isinstance(script.todo[0], fx.Load):
            script.loads(model, seconds=load_seconds)
        else:
            script.carries_out()
    return request_id
