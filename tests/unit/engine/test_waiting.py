"""Who is shown to wait, for what, and since when."""

from __future__ import annotations

from proxy.domain import effects as fx
from proxy.domain.snapshot import LoadSnapshot, WaitSnapshot
from proxy.engine.snapshot import snapshot
from tests.unit.engine.transcript import GIB, T0, Transcript

SIZES = {"small": 4.0, "middle": 9.0, "large": 10.0, "other": 9.0}


def waits(script: Transcript) -> tuple[WaitSnapshot, ...]:
    return snapshot(script.engine.state, script.at).waits


def test_nobody_waits_for_a_model_that_is_there() -> None:
    script = Transcript(SIZES).warmed("small")
    script.asks("small")
    assert waits(script) == ()
    assert snapshot(script.engine.state, script.at).loading is None


def test_requests_for_one_model_wait_together_since_the_first_of_them() -> None:
    script = Transcript(SIZES)
    script.ps()
    script.asks("small")
    script.after(3).asks("small")
    assert waits(script) == (WaitSnapshot("small:latest", 2, T0, "loading"),)


def test_a_load_under_way_is_shown_with_what_it_will_take() -> None:
    script = Transcript(SIZES)
    script.ps()
    script.asks("small")
    loading = snapshot(script.after(1).engine.state, script.at).loading
    assert loading == LoadSnapshot("small:latest", 4 * GIB, T0, loading.expected_seconds if loading else 0)
    assert loading.expected_seconds > 1.0


def test_each_step_to_a_load_is_told() -> None:
    script = Transcript(SIZES).warmed("middle", "large")
    script.asks("other")
    victim = script.one(fx.Unload).model
    assert [wait.reason for wait in waits(script)] == [f"unloading {victim}"]
    script.unloads(victim)
    assert [wait.reason for wait in waits(script)] == ["until the memory just given back is free"]
    script.settles()
    assert [wait.reason for wait in waits(script)] == ["loading"]


def test_who_waits_for_another_models_load_is_told_so_the_longest_wait_first() -> None:
    script = Transcript(SIZES)
    script.ps()
    script.asks("small")
    script.after(1).asks("middle")
    assert [(wait.model, wait.reason) for wait in waits(script)] == [
        ("small:latest", "loading"),
        ("middle:latest", "small:latest comes first: loading"),
    ]


def test_who_waits_for_busy_models_is_told_which() -> None:
    script = Transcript(SIZES).warmed("middle", "large")
    script.asks("middle")
    script.asks("large")
    script.asks("other")
    (wait,) = waits(script)
    assert wait.model == "other:latest"
    assert wait.reason.startswith("until ")
    assert wait.reason.endswith(" can leave: busy now")
