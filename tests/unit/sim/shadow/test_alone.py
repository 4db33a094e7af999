"""Ollama alone: shortcuts make no difference, and who asks one after the other doesn't wait for himself."""

from __future__ import annotations

import random
from math import inf
from typing import Any

import pytest

from proxy.domain.units import GIB
from proxy.sim.models import AUTOMATIC, FOREVER_SECONDS, ModelSpec, RunnerOptions, SchedulerOptions
from proxy.sim.scheduler import Scheduler
from proxy.sim.shadow.alone import Ask, OllamaAlone

SMALL = ModelSpec("small:latest", "1", 2 * GIB, 1.0)
LARGE = ModelSpec("large:latest", "2", 17 * GIB, 6.0)
OTHER = ModelSpec("other:latest", "3", 16 * GIB, 5.0)
FOURTH = ModelSpec("fourth:latest", "4", 3 * GIB, 2.0)


class Run:
    """Ollama alone, and what each request would have waited, by the time at which it came."""

    def __init__(self, seed: int = 0) -> None:
        self.waited: dict[float, float] = {}
        options = SchedulerOptions(24 * GIB, num_parallel=256)
        self.alone = OllamaAlone(Scheduler(options, random.Random(seed)), self._settled)

    def _settled(self, ask: Ask, seconds: float) -> None:
        self.waited[ask.at] = seconds

    def ask(self, at: float, spec: ModelSpec, service: float = 1.0, **more: Any) -> None:
        self.alone.ask(Ask(at, spec, None, AUTOMATIC, service, **{"over_at": inf, **more}))

    def done(self) -> list[float]:
        self.alone.advance(1e9)
        return [round(seconds, 6) for _, seconds in sorted(self.waited.items())]


def random_asks(seed: int) -> list[Ask | tuple[float, ModelSpec]]:
    """Sessions with keep_alives and contexts of all kinds; now and then somebody unloads."""
    dice = random.Random(seed)
    at, last, asks = 0.0, SMALL, []
    for _ in range(1500):
        at += dice.choice((0.5, 3.0, 30.0, 250.0, 310.0)) * dice.random()
        if dice.random() < 0.02:
            asks.append((at, dice.choice((SMALL, LARGE, OTHER, FOURTH))))
            continue
        last = last if dice.random() < 0.7 else dice.choice((SMALL, SMALL, FOURTH, FOURTH, LARGE, OTHER))
        keep_alive = dice.choice((None, None, None, None, 0.0, 10.0, 300.0, FOREVER_SECONDS))
        asks.append(Ask(at, last, keep_alive, AUTOMATIC, dice.choice((0.0, 0.2, 2.0, 40.0)), inf))
    return asks


@pytest.mark.parametrize("seed", range(8))
def test_requests_that_only_prolong_the_use_of_a_model_change_nothing_for_the_others(seed: int) -> None:
    every, quick = Run(seed), Run(seed)
    prolonged = 0
    for ask in random_asks(seed):
        if not isinstance(ask, Ask):
            every.alone.unload(*ask)
            quick.alone.unload(*ask)
            continue
        every.alone.ask(ask)
        if quick.alone.prolongs(ask.spec, ask.keep_alive_seconds, ask.at, ask.at + ask.service_seconds):
            quick.waited[ask.at] = 0.0
            prolonged += 1
        else:
            quick.alone.ask(ask)
    assert quick.done() == every.done()
    assert prolonged > 300
    assert sum(every.waited.values()) > 60


def test_another_kind_of_request_is_no_prolonging() -> None:
    run = Run()
    run.ask(0.0, SMALL)
    run.alone.advance(10.0)
    run.ask(20.0, SMALL)
    assert run.alone.prolongs(SMALL, None, 30.0, 31.0)
    assert run.alone.prolongs(SMALL, 300.0, 40.0, 41.0)
    assert not run.alone.prolongs(SMALL, 60.0, 50.0, 51.0)  # would shorten its stay
    assert not run.alone.prolongs(FOURTH, None, 50.0, 51.0)
    assert not run.alone.prolongs(SMALL, None, 341.0, 342.0)  # it has left


def test_a_change_of_context_loads_again() -> None:
    run = Run()
    run.ask(0.0, SMALL)
    run.alone.ask(Ask(10.0, SMALL, None, RunnerOptions(num_ctx=512), 1.0, inf))
    assert run.done()[1] > SMALL.load_seconds


def test_an_unload_makes_the_next_one_wait() -> None:
    run = Run()
    run.ask(0.0, SMALL)
    run.alone.unload(10.0, SMALL)
    run.ask(20.0, SMALL)
    assert run.done() == [1.0, 1.0]


def test_who_asks_again_after_an_answer_is_not_counted_twice_for_one_load() -> None:
    run = Run()
    run.ask(0.0, LARGE, over_at=1.0)  # with us it was warm, and over after a second
    run.ask(2.0, LARGE, over_at=3.0)  # in truth, nobody asks that before the first is answered, 7 s from the start
    assert run.done() == [6.0, 0.0]


def test_another_client_waits_for_itself() -> None:
    run = Run()
    run.ask(0.0, LARGE, over_at=1.0, client="ann")
    run.ask(2.0, LARGE, over_at=3.0, client="ben")
    assert run.done() == [6.0, 4.0]


def test_two_who_ask_at_once_both_wait() -> None:
    run = Run()
    run.ask(0.0, LARGE, over_at=9.0)
    run.ask(2.0, LARGE, over_at=9.0)
    assert run.done() == [6.0, 4.0]


def test_the_next_model_of_a_chain_is_waited_for_from_the_answer_before_on() -> None:
    run = Run()
    run.ask(0.0, SMALL, over_at=0.4)
    run.ask(0.5, FOURTH, over_at=0.9)  # here, small answers at 2 s, and only then this is asked; it is loaded at 3 s
    assert run.done() == [1.0, 1.0]


def test_who_gave_up_with_us_gives_up_as_soon_there() -> None:
    run = Run()
    run.ask(0.0, LARGE, leaves_at=2.5)
    run.ask(10.0, LARGE, leaves_at=100.0)
    assert run.done() == [2.5, 6.0]


def test_a_request_that_ollama_refuses_waits_for_nothing() -> None:
    waited: list[float] = []
    options = SchedulerOptions(24 * GIB, max_queue=1, num_parallel=256)
    alone = OllamaAlone(Scheduler(options, random.Random(0)), lambda _, seconds: waited.append(seconds))
    for number in range(3):  # one is being loaded for, one waits, one is refused
        alone.ask(Ask(number / 10, (LARGE, OTHER, SMALL)[number], None, AUTOMATIC, 1.0, inf))
    assert waited == [0.0]
