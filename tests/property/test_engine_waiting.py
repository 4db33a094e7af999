"""Nobody waits longer than the bound: whoever asks for what and when, in a world where every answer ends."""

from __future__ import annotations

import heapq
import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st
from hypothesis import given, settings

from proxy.domain import effects as fx
from proxy.domain import events as ev
from proxy.domain.model import Endpoint, ModelFacts, ModelRequest, ObservedResident, RunnerOptions
from proxy.engine.engine import Engine
from proxy.policy import UsageBook
from tests.unit.engine.transcript import GIB, SETTINGS, T0

SIZES = {f"m{gib}:latest": gib * GIB for gib in (2, 5, 9, 10, 17, 20)}  # of a 24 GiB budget
LONGEST_ANSWER_SECONDS, LONGEST_STEP_SECONDS = 30.0, 10.0
ASKED = st.tuples(
    st.floats(0.0, 40.0),  # pause before it
    st.sampled_from(sorted(SIZES)),
    st.sampled_from([None, None, None, 16384]),  # num_ctx
    st.floats(0.01, LONGEST_ANSWER_SECONDS),
)


@dataclass
class World:
    """An Ollama that does what it is told, each thing in its time; nothing ever fails."""

    requests: list[tuple[float, str, int | None, float]]
    step_seconds: float
    at: float = T0
    engine: Engine = field(default_factory=lambda: Engine(SETTINGS, UsageBook()))
    loaded: dict[str, int] = field(default_factory=dict)
    arrived: dict[int, float] = field(default_factory=dict)
    waits: dict[int, float] = field(default_factory=dict)
    _coming: list[tuple[float, int, Any]] = field(default_factory=list)
    _number: Any = field(default_factory=itertools.count)
    _wake_at: float = math.inf

    def run(self) -> None:
        """From the first request until nothing is to come but ticks."""
        self._happens(self._shown())
        at = self.at
        for number, (pause, *asked) in enumerate(self.requests):
            at += pause
            self._later(at, (number, *asked))
        while self._coming or (self.engine.state.held and self._wake_at < math.inf):
            if self._coming and self._coming[0][0] <= self._wake_at:
                self.at, _, what = heapq.heappop(self._coming)
                self._happens(self._arrival(*what) if isinstance(what, tuple) else what(self.at))
            else:
                self.at, self._wake_at = self._wake_at, math.inf
                self._happens(ev.Tick(self.at))

    def _arrival(self, number: int, model: str, num_ctx: int | None, _: float) -> ev.Event:
        self.arrived[number] = self.at
        options = RunnerOptions((("num_ctx", num_ctx),) if num_ctx else ())
        facts = ModelFacts(model, f"sha256-{model}", SIZES[model])
        return ev.RequestArrived(self.at, number, ModelRequest(model, Endpoint.CHAT, options), facts)

    def _happens(self, event: ev.Event) -> None:
        for effect in self.engine.handle(event):
            match effect:
                case fx.Forward(request_id=number):
                    self.waits[number] = self.at - self.arrived[number]
                    self._after(self.requests[number][3], lambda at, n=number: self._ended(n, at))
                case fx.Load(model=model):
                    self._after(self.step_seconds, lambda at, m=model, e=effect: self._was_loaded(m, e, at))
                case fx.Unload(model=model):
                    self._after(self.step_seconds, lambda at, m=model: self._was_unloaded(m, at))
                case fx.Touch(model=model):
                    self._after(0.01, lambda at, m=model: ev.TouchEnded(at, m))
                case fx.Settle(seconds=seconds):
                    self._after(seconds, ev.Settled)
                case fx.Observe():
                    self._after(0.01, lambda _: self._shown())
                case fx.WakeAt(at=at):
                    self._wake_at = at

    def _ended(self, number: int, at: float) -> ev.Event:
        return ev.RequestEnded(at, number, ev.Ending.ANSWERED, 200)

    def _was_loaded(self, model: str, effect: fx.Load, at: float) -> ev.Event:
        self.loaded[model] = effect.options.num_ctx or 4096
        self._after(0.001, lambda _: self._shown())
        return ev.LoadEnded(at, model, self.step_seconds)

    def _was_unloaded(self, model: str, at: float) -> ev.Event:
        self.loaded.pop(model, None)
        return ev.UnloadEnded(at, model, self.step_seconds)

    def _shown(self) -> ev.Event:
        lines = (
            ObservedResident(model, SIZES[model], SIZES[model], context, self.at + 300, f"sha256-{model}")
            for model, context in self.loaded.items()
        )
        return ev.ResidentsObserved(self.at, self.at, tuple(lines))

    def _after(self, seconds: float, what: Any) -> None:
        self._later(self.at + seconds, what)

    def _later(self, at: float, what: Any) -> None:
        heapq.heappush(self._coming, (at, next(self._number), what))


@given(requests=st.lists(ASKED, min_size=1, max_size=60), step_seconds=st.floats(0.01, LONGEST_STEP_SECONDS))
@settings(max_examples=200)
def test_nobody_waits_longer_than_the_swaps_before_them_take(
    requests: list[tuple[float, str, int | None, float]], step_seconds: float
) -> None:
    """Whoever is oldest is served next: each model and context that is wanted may come before, once, with its swap.

    A swap waits at most `max_wait` for the turn of those who leave and for their answers to end, unloads at most three
    models (as many as there may be), settles, and loads.
    """
    world = World(requests, step_seconds)
    world.run()
    assert world.waits.keys() == world.arrived.keys() == set(range(len(requests))), "somebody was never served"
    wanted = len({(model, num_ctx) for _, model, num_ctx, _ in requests})
    swap = SETTINGS.max_wait_seconds + LONGEST_ANSWER_SECONDS + 4 * step_seconds + SETTINGS.settle_seconds + 1.0
    assert max(world.waits.values()) <= wanted * swap
