from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from proxy.domain import effects as fx
from proxy.domain import events as ev
from proxy.domain.settings import ClientKeepAlive, ModelRule
from proxy.engine.snapshot import explain, snapshot
from tests.unit.engine.transcript import GIB, Transcript

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = {"small": 4.0, "middle": 9.0, "large": 10.0, "other": 9.0, "huge": 40.0}


def shown(script: Transcript) -> dict[str, Any]:
    """The snapshot as `/state` gives it; refuses what JSON cannot say."""
    plain = dataclasses.asdict(snapshot(script.engine.state, script.at))
    json.dumps(plain, allow_nan=False)
    content: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(plain))
    return content


def explained(script: Transcript, model: str) -> dict[str, Any] | None:
    found = explain(script.engine.state, model, script.at)
    if found is not None:
        json.dumps(found, allow_nan=False)
        msgspec.json.encode(found)
    return found


def nothing() -> Transcript:
    return Transcript(SIZES)


def nothing_loaded() -> Transcript:
    script = Transcript(SIZES, budget_bytes=None)
    script.ps()
    return script


def loaded_by_others_for_ever() -> Transcript:
    script = Transcript(SIZES)
    script.ps(script.line("small", expires_in=math.inf, weights=""))
    return script


def loading() -> Transcript:
    script = Transcript(SIZES)
    script.ps()
    script.asks("small")
    return script


def just_loaded() -> Transcript:
    script = loading()
    script.happens(ev.LoadEnded(script.at + 1, "small:latest", 1.0))
    return script


def swapping() -> Transcript:
    script = Transcript(SIZES).warmed("middle", "large")
    script.asks("other")
    return script


def settling() -> Transcript:
    script = swapping()
    script.unloads(script.one(fx.Unload).model)
    return script


def waiting_for_busy_models() -> Transcript:
    script = Transcript(SIZES, max_models=2).warmed("middle", "large")
    script.asks("middle")
    script.asks("large")
    script.asks("other")
    return script


def pinned_and_priceless() -> Transcript:
    rules = [("small", ModelRule(pin=True, weight=1e300))]
    return Transcript(SIZES, rules, price_seconds_per_gib_hour=0.0).warmed("small")


def on_the_cpu() -> Transcript:
    script = Transcript(SIZES)
    script.ps(script.line("small", vram_gib=0.0))
    return script


def asked_for_very_long() -> Transcript:
    script = Transcript(SIZES, client_keep_alive=ClientKeepAlive.RESPECT).warmed("small")
    script.ends(script.asks("small", keep_alive=1e300))
    return script


def asked_for_ever() -> Transcript:
    script = Transcript(SIZES, client_keep_alive=ClientKeepAlive.RESPECT).warmed("small")
    script.ends(script.asks("small", keep_alive=-1))
    return script


def gone_silent() -> Transcript:
    script = swapping()
    script.happens(ev.ResidentsUnknown(script.at, "no answer"))
    return script


def more_used_than_allowed() -> Transcript:
    script = Transcript(SIZES)
    script.ps(script.line("huge"))
    return script


def a_year_later() -> Transcript:
    return Transcript(SIZES).warmed("small").after(365 * 86400)


STATES = [
    nothing,
    nothing_loaded,
    loaded_by_others_for_ever,
    loading,
    just_loaded,
    swapping,
    settling,
    waiting_for_busy_models,
    pinned_and_priceless,
    on_the_cpu,
    asked_for_very_long,
    asked_for_ever,
    gone_silent,
    more_used_than_allowed,
    a_year_later,
]


@pytest.mark.parametrize("state", STATES)
def test_every_state_can_be_said_in_json(state: Callable[[], Transcript]) -> None:
    script = state()
    content = shown(script)
    assert content["at"] == script.at
    for model in ("small:latest", "middle:latest", "other:latest", "huge:latest"):
        explained(script, model)


def test_before_anything_is_known_it_says_so() -> None:
    content = shown(nothing_loaded())
    assert (content["budget_bytes"], content["headroom_bytes"]) == (None, None)
    assert content["budget_source"].startswith("not known yet")
    assert content["upstream_known"] is True
    assert shown(nothing())["upstream_known"] is False


def test_a_resident_that_never_expires_has_no_time_of_expiry() -> None:
    (resident,) = shown(loaded_by_others_for_ever())["residents"]
    assert (resident["expires_at"], resident["ttl_seconds"], resident["keep_alive"]) == (None, None, None)


def test_a_resident_is_shown_with_size_worth_and_reason() -> None:
    script = Transcript(SIZES).warmed("small")
    script.asks("small")
    (resident,) = shown(script)["residents"]
    assert resident["model"] == "small:latest"
    assert (resident["bytes"], resident["vram_bytes"], resident["busy"]) == (4 * GIB, 4 * GIB, 1)
    assert resident["keep_alive"] >= 300
    assert resident["load_seconds"] == pytest.approx(2.0)
    assert resident["worth"] > 0
    assert resident["loss_seconds"] > 0
    assert resident["reason"].startswith("kept ")
    assert resident["pinned"] is False


def test_a_resident_that_is_not_on_the_gpu_has_no_worth_per_gib() -> None:
    (resident,) = shown(on_the_cpu())["residents"]
    assert (resident["vram_bytes"], resident["worth"]) == (0, None)


def test_a_pinned_resident_says_why_it_stays() -> None:
    (resident,) = shown(Transcript(SIZES, [("small", ModelRule(pin=True))]).warmed("small"))["residents"]
    assert resident["pinned"] is True
    assert resident["reason"].startswith("pinned: never evicted")


def test_used_bytes_and_headroom_add_up_to_the_budget_even_where_too_much_is_used() -> None:
    content = shown(more_used_than_allowed())
    assert content["used_bytes"] + content["headroom_bytes"] == content["budget_bytes"] == 24 * GIB
    assert content["headroom_bytes"] == -16 * GIB


def test_what_is_under_way_and_who_waits_are_told() -> None:
    content = shown(swapping())
    assert content["operation"].startswith("unloading: ")
    assert (content["waiting"], content["in_flight"]) == (1, 0)
    assert shown(settling())["operation"].startswith("settling: ")
    assert shown(loading())["operation"].startswith("loading: ")
    assert shown(just_loaded())["operation"].startswith("verifying: ")
    content = shown(waiting_for_busy_models())
    assert content["operation"] is None
    assert (content["waiting"], content["in_flight"]) == (1, 2)


def test_the_longest_wait_is_that_of_the_oldest_who_is_held() -> None:
    script = waiting_for_busy_models().after(7)
    script.asks("huge")
    assert shown(script.after(2))["longest_wait_seconds"] == 9.0
    assert shown(nothing())["longest_wait_seconds"] == 0.0


def test_how_many_models_ollama_keeps_loaded_is_told() -> None:
    assert shown(nothing())["max_models"] == 3  # Ollama's own default for one GPU


def test_models_that_left_are_told_with_what_is_known_of_them() -> None:
    script = Transcript(SIZES).warmed("small")
    used_at = script.at - 12
    script.asks("small", keep_alive=0, unload=True)
    script.unloads("small")
    (model,) = shown(script)["models"]
    assert shown(script)["residents"] == []
    assert (model["model"], model["bytes"], model["last_used_at"]) == ("small:latest", 4 * GIB, used_at)
    assert model["uses_per_hour"] == pytest.approx(1.0, abs=0.01)


def test_a_model_that_nobody_ever_asked_for_was_never_used() -> None:
    (model,) = shown(loaded_by_others_for_ever())["models"]
    assert model["last_used_at"] is None


# The explanation of one model


def test_a_resident_is_explained_with_its_numbers_and_its_decisions() -> None:
    script = Transcript(SIZES).warmed("small")
    script.asks("small", keep_alive=7)
    found = explained(script, "small:latest")
    assert found is not None
    assert found["now"].startswith("resident, busy with 1, for ")
    assert "Ollama believes 20.0 GiB to be free beside it" in found["now"]
    assert found["client_asked_keep_alive_seconds"] == 7
    assert found["load_seconds"] == 2.0
    assert 0 < found["chance_of_use_within_horizon"] < 1
    assert found["bytes"] == 4 * GIB
    (decision,) = found["decisions"]
    assert decision["text"].startswith("loaded: nobody leaves")


def test_a_model_that_left_is_explained_too_and_why_it_left() -> None:
    script = Transcript(SIZES).warmed("middle", "large")
    script.asks("other")
    victim = script.one(fx.Unload).model
    script.unloads(victim)
    found = explained(script, victim)
    assert found is not None
    assert found["now"] == "not resident"
    assert found["decisions"][-1]["text"].startswith("eviction: ")
    assert found["bytes"] == script.sizes[victim]


def test_of_a_model_that_nothing_is_known_of_there_is_no_explanation_and_asking_leaves_no_trace() -> None:
    script = Transcript(SIZES).warmed("small")
    assert explained(script, "nobody:latest") is None
    assert [model["model"] for model in shown(script)["models"]] == ["small:latest"]


def test_a_pinned_leaving_or_endless_resident_says_so() -> None:
    pinned = explained(Transcript(SIZES, [("small", ModelRule(pin=True))]).warmed("small"), "small:latest")
    assert pinned is not None
    assert pinned["now"].endswith(", pinned")
    endless = explained(loaded_by_others_for_ever(), "small:latest")
    assert endless is not None
    assert "for ever, Ollama believes unknown to be free" in endless["now"]
    script = swapping()
    leaving = explained(script, script.one(fx.Unload).model)
    assert leaving is not None
    assert ", leaving (eviction)" in leaving["now"]


def test_only_the_last_20_decisions_are_told() -> None:
    script = Transcript(SIZES).warmed("small")
    for _ in range(30):
        script.asks("small", keep_alive=0, unload=True)
        script.unloads("small")
        script.after(10).warmed("small")
    found = explained(script, "small:latest")
    assert found is not None
    assert len(found["decisions"]) == 20
    assert [d["at"] for d in found["decisions"]] == sorted(d["at"] for d in found["decisions"])


def test_an_explanation_tells_where_the_load_seconds_come_from_and_how_fast_the_disk_is() -> None:
    script = Transcript(SIZES)
    script.ps()
    script.asks("middle")
    never = explained(script, "middle:latest")
    assert never is not None
    assert (
        never["load_seconds_learnt"] == "from disk, by its size, never loaded yet; all models: nothing was loaded yet"
    )
    script.loads("middle", seconds=18.0)
    loaded = explained(script, "middle:latest")
    assert loaded is not None
    assert loaded["load_seconds"] == 18.0
    assert loaded["load_seconds_learnt"].startswith("from the page cache, by its own loads; all models: disk 0.6")
    script.asks("large")
    other = explained(script, "large:latest")
    assert other is not None
    assert other["load_seconds"] == pytest.approx(18.0 * 10 / 9, rel=0.05)  # the disk's speed, learnt from the other
