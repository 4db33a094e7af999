"""What the list of the last decisions says."""

from __future__ import annotations

import pytest

from proxy.domain.effects import (
    Cause,
    Effect,
    Forward,
    KeepAlive,
    Left,
    Load,
    Loaded,
    ManagementFailed,
    Outcome,
    Regretted,
    Unload,
    WakeAt,
)
from proxy.domain.events import ResidentsObserved, ResidentsUnknown, Tick
from proxy.domain.model import RunnerOptions
from proxy.observe.recent import Kind, RecentDecision, RecentDecisions

GIB = 1024**3
AT = 1_800_000_000.0


def told(*effects: Effect) -> list[tuple[Kind, str | None, str]]:
    recent = RecentDecisions()
    recent.observe(Tick(AT), effects)
    return [(decision.kind, decision.model, decision.reason) for decision in recent.latest()]


def load(reason: str = "nobody leaves: 0 of at most 3 models loaded") -> Load:
    return Load("a:1", "a:1", RunnerOptions(), embedding_only=False, keep_alive=300, reason=reason)


@pytest.mark.parametrize(
    ("effect", "kind", "reason"),
    [
        (
            Unload("a:1", "a:1", Cause.EVICTION, "a:1 leaves: expected loss 75ms, reload 751ms, idle 7.8s"),
            Kind.EVICTED,
            "To make room: expected loss 75ms, reload 751ms, idle 7.8s.",
        ),
        (
            Unload("a:1", "a:1", Cause.EVICTION, "b:1 leaves: idle 9s; a:1 leaves: idle 7s"),
            Kind.EVICTED,
            "To make room: idle 7s.",
        ),
        (
            Unload("a:1", "a:1", Cause.ROOM_AHEAD, "a:1 leaves ahead of need"),
            Kind.EVICTED,
            "To have room ready for what is likely to be asked for next: a:1 leaves ahead of need.",
        ),
        (
            Unload("a:1", "a:1", Cause.EXPIRY, "idle for 2h, worth keeping 2h"),
            Kind.LEFT,
            "Not used for long enough: idle for 2h, worth keeping 2h.",
        ),
        (Left("a:1", Cause.EXPIRY, GIB), Kind.LEFT, "Its keep_alive ran out; 1GiB free."),
        (Left("a:1", Cause.UPSTREAM, GIB), Kind.LEFT, "Ollama made room by itself; 1GiB free."),
        (Left("a:1", Cause.EVICTION, GIB), Kind.LEFT, "To make room; 1GiB free."),
        (Left("a:1", Cause.CLIENT, GIB), Kind.LEFT, "A client asked for it; 1GiB free."),
        (Regretted("a:1", 12.0), Kind.REGRETTED, "Asked for again 12s after it had to leave."),
        (
            ManagementFailed("a:1", "loading a:1", "500"),
            Kind.FAILED,
            "Loading a:1 failed, who waited passes as they came: 500.",
        ),
    ],
)
def test_each_decision_is_told_in_one_sentence(effect: Effect, kind: Kind, reason: str) -> None:
    assert told(effect) == [(kind, "a:1", reason)]


def test_a_load_is_told_when_it_is_over_with_what_it_took_and_why_it_could_be() -> None:
    assert told(load(), Loaded("a:1", Cause.COLD, 2.5, 9 * GIB, 0)) == [
        (Kind.LOADED, "a:1", "Took 2.5s, 9GiB; nobody leaves: 0 of at most 3 models loaded.")
    ]


def test_a_load_that_spilled_says_so() -> None:
    (only,) = told(load("x"), Loaded("a:1", Cause.COLD, 2.5, 9 * GIB, GIB))
    assert only[2] == "Took 2.5s, 9GiB, 1GiB of it not on the GPU; x."


def test_the_reason_of_an_eviction_is_not_told_a_second_time_with_the_load_that_it_made_room_for() -> None:
    reason = "b:1 leaves: idle 7.8s"
    unload = Unload("b:1", "b:1", Cause.EVICTION, reason)
    loaded, evicted = told(unload, Left("b:1", Cause.EVICTION, GIB), load(reason), Loaded("a:1", Cause.COLD, 1, GIB, 0))
    assert evicted == (Kind.EVICTED, "b:1", "To make room: idle 7.8s.")
    assert loaded == (Kind.LOADED, "a:1", "Took 1s, 1GiB; in the room just made.")


def test_what_happens_with_every_request_is_no_news() -> None:
    assert told(Forward(1, Outcome.WARM, KeepAlive.AS_IT_CAME, "warm"), WakeAt(AT)) == []


def test_whether_ollama_answers_is_told_only_when_it_changes() -> None:
    recent = RecentDecisions()
    for event in (
        ResidentsObserved(AT, AT, ()),
        ResidentsObserved(AT + 5, AT + 5, ()),
        ResidentsUnknown(AT + 10, "/api/ps did not answer in time"),
        ResidentsUnknown(AT + 15, "/api/ps did not answer in time"),
    ):
        recent.observe(event, [])
    assert recent.latest() == [
        RecentDecision(
            AT + 10,
            Kind.UPSTREAM,
            None,
            "Ollama does not tell what is loaded, requests pass as they come: /api/ps did not answer in time.",
        ),
        RecentDecision(AT, Kind.UPSTREAM, None, "Ollama answers; its models are managed."),
    ]


def test_only_the_last_50_are_kept_the_last_one_first() -> None:
    recent = RecentDecisions()
    for number in range(120):
        recent.observe(Tick(AT + number), [Regretted("a:1", 1.0)])
    assert [decision.at for decision in recent.latest()] == [AT + number for number in range(119, 69, -1)]
