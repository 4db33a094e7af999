import math

import pytest

from proxy.domain.effects import Forward, KeepAlive, Outcome
from proxy.domain.events import (
    AnswerFigures,
    Ending,
    RequestArrived,
    RequestEnded,
    Tick,
)
from proxy.domain.model import Endpoint, ModelFacts, ModelRequest, RunnerOptions
from proxy.domain.timeline import FinishedRequest, Timelines

FACTS = ModelFacts("llama3:latest", "sha256:1", 4_000)
OPTIONS = RunnerOptions((("num_ctx", 8192),))


def arrived(at: float, request_id: int = 1, facts: ModelFacts | None = FACTS) -> RequestArrived:
    return RequestArrived(at, request_id, ModelRequest("llama3:latest", Endpoint.CHAT, OPTIONS), facts)


def forward(outcome: Outcome, request_id: int = 1) -> Forward:
    return Forward(request_id, outcome, KeepAlive.AS_IT_CAME, "why not")


def test_a_warm_request_waits_for_nothing_and_keeps_its_figures() -> None:
    timelines = Timelines()
    figures = AnswerFigures(load_seconds=0.1, generated_tokens=7)
    assert timelines.observe(arrived(100.0), [forward(Outcome.WARM)]) == []
    assert timelines.observe(RequestEnded(103.0, 1, Ending.ANSWERED, 200, figures, started_at=100.25), []) == [
        FinishedRequest(
            request_id=1,
            at=100.0,
            model="llama3:latest",
            known=True,
            endpoint=Endpoint.CHAT,
            options=OPTIONS,
            outcome=Outcome.WARM,
            ending=Ending.ANSWERED,
            status=200,
            wait_seconds=0.0,
            ttft_seconds=0.25,
            e2e_seconds=3.0,
            figures=figures,
            forward=forward(Outcome.WARM),
            facts=FACTS,
        )
    ]


def test_a_cold_request_waits_until_a_later_event_forwards_it() -> None:
    timelines = Timelines()
    timelines.observe(arrived(100.0), [])
    timelines.observe(Tick(106.0), [forward(Outcome.COLD)])
    (finished,) = timelines.observe(RequestEnded(110.0, 1, Ending.ANSWERED, 200), [])
    assert (finished.outcome, finished.wait_seconds, finished.ttft_seconds) == (Outcome.COLD, 6.0, None)


def test_a_request_that_ends_while_it_is_held_is_cold_and_waited_to_its_end() -> None:
    timelines = Timelines()
    timelines.observe(arrived(100.0), [])
    (finished,) = timelines.observe(RequestEnded(104.0, 1, Ending.CLIENT_GONE), [])
    assert (finished.outcome, finished.wait_seconds, finished.e2e_seconds) == (Outcome.COLD, 4.0, 4.0)


def test_the_end_of_one_request_may_forward_another() -> None:
    timelines = Timelines()
    timelines.observe(arrived(100.0, 1), [forward(Outcome.WARM, 1)])
    timelines.observe(arrived(101.0, 2), [])
    timelines.observe(RequestEnded(105.0, 1, Ending.ANSWERED, 200), [forward(Outcome.WARM, 2)])
    (finished,) = timelines.observe(RequestEnded(106.0, 2, Ending.ANSWERED, 200), [])
    assert (finished.outcome, finished.wait_seconds) == (Outcome.WARM, 4.0)


def test_a_model_that_ollama_does_not_know_is_marked() -> None:
    timelines = Timelines()
    timelines.observe(arrived(100.0, facts=None), [forward(Outcome.PASSTHROUGH)])
    (finished,) = timelines.observe(RequestEnded(100.1, 1, Ending.ANSWERED, 404), [])
    assert not finished.known


def test_a_request_that_nobody_saw_arrive_is_not_reported() -> None:
    assert Timelines().observe(RequestEnded(1.0, 9, Ending.ANSWERED), [forward(Outcome.WARM, 9)]) == []


def test_of_more_requests_than_may_be_followed_the_oldest_is_forgotten() -> None:
    timelines = Timelines(max_live=2)
    for request_id in (1, 2, 3):
        timelines.observe(arrived(100.0, request_id), [forward(Outcome.WARM, request_id)])
    ended = [timelines.observe(RequestEnded(101.0, request_id, Ending.ANSWERED), []) for request_id in (1, 2, 3)]
    assert [len(finished) for finished in ended] == [0, 1, 1]


def test_what_the_client_asked_of_the_model_is_told() -> None:
    timelines = Timelines()
    request = ModelRequest("llama3:latest", Endpoint.CHAT, keep_alive=0.0, is_unload=True)
    timelines.observe(RequestArrived(100.0, 1, request, FACTS), [])
    (finished,) = timelines.observe(RequestEnded(100.5, 1, Ending.ANSWERED, 200), [])
    assert (finished.keep_alive, finished.is_unload, finished.facts) == (0.0, True, FACTS)


def test_the_oldest_request_under_way_says_until_when_all_are_over() -> None:
    timelines = Timelines()
    assert timelines.all_over_until() == math.inf
    timelines.observe(arrived(100.0, 1), [])
    timelines.observe(arrived(101.0, 2), [])
    assert timelines.all_over_until() == 100.0
    timelines.observe(RequestEnded(105.0, 1, Ending.ANSWERED, 200), [])
    assert timelines.all_over_until() == 101.0
    timelines.observe(RequestEnded(106.0, 2, Ending.ANSWERED, 200), [])
    assert timelines.all_over_until() == math.inf


@pytest.mark.parametrize(("told", "loaded"), [(None, 0.0), (0.0, 0.0), (0.2, 0.0), (0.21, 0.21), (31.0, 31.0)])
def test_finding_a_loaded_model_is_no_load(told: float | None, loaded: float) -> None:
    assert AnswerFigures(load_seconds=told).reload_seconds == loaded
