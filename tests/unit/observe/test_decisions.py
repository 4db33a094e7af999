import logging

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
    Observe,
    Outcome,
    Regretted,
    Unload,
    WakeAt,
)
from proxy.domain.events import ResidentsObserved, ResidentsUnknown, Tick
from proxy.domain.model import ObservedResident, RunnerOptions
from proxy.observe.decisions import DecisionLog
from proxy.observe.log import FIELDS

GIB = 1024**3


@pytest.mark.parametrize(
    ("effect", "level", "words"),
    [
        (
            Forward(7, Outcome.WARM, 2832, "used 31/h"),
            "DEBUG",
            "request 7 forwarded warm, keep_alive 47m12s: used 31/h",
        ),
        (
            Forward(8, Outcome.PASSTHROUGH, KeepAlive.AS_IT_CAME, "residents are not known"),
            "DEBUG",
            "request 8 forwarded passthrough, keep_alive as_it_came: residents are not known",
        ),
        (
            Load("a:latest", "a:latest", RunnerOptions((("num_ctx", 8192),)), False, -1, "asked for"),  # noqa: FBT003 - as the engine builds it
            "INFO",
            "load a:latest, num_ctx 8192, keep_alive for ever: asked for",
        ),
        (
            Unload("a:latest", "a:latest", Cause.EVICTION, "room for b"),
            "INFO",
            "unload a:latest (eviction): room for b",
        ),
        (
            Unload("a:latest", "a:latest", Cause.EVICTION, "room for b", request_id=7),
            "INFO",
            "unload a:latest for request 7 (eviction): room for b",
        ),
        (
            Loaded("a:latest", Cause.COLD, 6.2, 6 * GIB, GIB),
            "INFO",
            "loaded a:latest (cold) in 6.2s: 6GiB, 1GiB of it spilled to main memory",
        ),
        (
            Load("a:latest", "a:latest", RunnerOptions(), False, 60, "asked for", request_id=7),  # noqa: FBT003 - as above
            "INFO",
            "load a:latest for request 7, keep_alive 1m: asked for",
        ),
        (
            Loaded("a:latest", Cause.COLD, 6.2, 6 * GIB, 0, request_id=7),
            "INFO",
            "loaded a:latest for request 7 (cold) in 6.2s: 6GiB",
        ),
        (Left("a:latest", Cause.EXPIRY, 6 * GIB), "INFO", "a:latest left (expiry): 6GiB"),
        (Regretted("a:latest", 41.0), "INFO", "regret: a:latest is asked for again 41s after its eviction"),
        (
            ManagementFailed("a:latest", "loading a:latest", "out of memory"),
            "WARNING",
            "a:latest: loading a:latest failed, the requests that needed it pass as they came: out of memory",
        ),
    ],
)
def test_an_effect_is_told_in_one_line_with_its_reason(
    effect: Effect, level: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    DecisionLog().observe(Tick(1.0), [effect])
    assert [(record.levelname, record.message) for record in caplog.records] == [(level, words)]


def test_forwards_are_silent_above_debug_and_internal_effects_always(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    DecisionLog().observe(Tick(1.0), [Forward(7, Outcome.WARM, 60, "used"), Observe(), WakeAt(9.0)])
    assert caplog.records == []


def test_the_fields_of_a_decision_leave_out_the_runner_options(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    options = RunnerOptions((("num_gpu", "a text that a client put there"),))
    load = Load("a:latest", "A", options, embedding_only=False, keep_alive=60, reason="asked for", request_id=7)
    DecisionLog().observe(Tick(1.0), [load])
    (record,) = caplog.records
    assert getattr(record, FIELDS) == {
        "effect": "load",
        "model": "a:latest",
        "name": "A",
        "embedding_only": False,
        "keep_alive": 60,
        "reason": "asked for",
        "request_id": 7,
    }


def test_only_a_change_of_what_is_known_of_the_upstream_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log = DecisionLog()
    seen = ResidentsObserved(1.0, 1.0, (ObservedResident("a:latest", 5, 5),))
    for event in (seen, seen, ResidentsUnknown(2.0, "refused"), ResidentsUnknown(3.0, "refused"), seen):
        log.observe(event, [])
    assert [record.message for record in caplog.records] == [
        "residents are known: a:latest",
        "residents are not known, requests pass as they come: refused",
        "residents are known: a:latest",
    ]
