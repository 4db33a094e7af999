"""Whatever comes in whatever order: the engine's invariants hold, and in the end nobody waits any more."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from proxy.domain import effects as fx
from proxy.domain import events as ev
from proxy.domain.effects import KeepAlive
from proxy.domain.model import Endpoint, ModelFacts, ModelRequest, ObservedResident, RunnerOptions
from proxy.domain.settings import POLICIES, ModelRule
from proxy.engine.engine import Engine
from proxy.policy import UsageBook
from tests.unit.engine.transcript import GIB, SETTINGS, T0

SIZES = {f"m{gib}:latest": gib * GIB for gib in (1, 2, 5, 9, 10, 17, 30)}  # of a 24 GiB budget; one is bigger
MODELS = st.sampled_from(sorted(SIZES))
OPTIONS = st.sampled_from([{}, {}, {"num_ctx": 4096}, {"num_ctx": 16384}])
SETTINGS_OF_ALL_KINDS = st.fixed_dictionaries(
    {
        "policy": st.sampled_from(POLICIES),
        "budget_bytes": st.sampled_from([None, 24 * GIB, 18 * GIB, 4 * GIB]),
        "max_models": st.sampled_from([None, 1, 2, 5]),
        "price_seconds_per_gib_hour": st.sampled_from([0.0, 0.005, 10.0]),
        "settle_seconds": st.sampled_from([0.0, 0.5]),
        "keep_alive_max_seconds": st.sampled_from([300.0, 86400.0]),
        "max_wait_seconds": st.sampled_from([0.0, 1.0, 60.0]),
        "rules": st.lists(
            st.tuples(
                MODELS, st.sampled_from([ModelRule(pin=True), ModelRule(never_keep=True), ModelRule(weight=9.0)])
            ),
            max_size=3,
        ).map(tuple),
    }
)
STRANGERS = [
    ev.RequestEnded(0.0, 10**9, ev.Ending.ANSWERED, 200),
    ev.LoadEnded(0.0, "nobody:latest", 1.0),
    ev.LoadEnded(0.0, "nobody:latest", 1.0, "it failed"),
    ev.UnloadEnded(0.0, "nobody:latest", 1.0),
    ev.UnloadEnded(0.0, "nobody:latest", 1.0, "it failed"),
    ev.TouchEnded(0.0, "nobody:latest"),
    ev.TouchEnded(0.0, "nobody:latest", "it failed"),
]


class EngineMachine(RuleBasedStateMachine):
    """Requests, endings and failures in any order; what the engine asks for is carried out in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.settings = SETTINGS
        self.driver_asked = False
        self.engine = Engine(SETTINGS, UsageBook())
        self.at = T0
        self.next_id = 0
        self.unanswered: set[int] = set()
        self.running: dict[int, str] = {}
        self.loaded: dict[str, int] = {}
        self.todo: list[Any] = []
        self._observe()

    # What may happen

    @rule(
        model=MODELS, endpoint=st.sampled_from(list(Endpoint)), options=OPTIONS, asked=st.sampled_from([None, -1, 60])
    )
    def a_request_arrives(self, model: str, endpoint: Endpoint, options: dict[str, Any], asked: float | None) -> None:
        self.next_id += 1
        self.unanswered.add(self.next_id)
        runner = RunnerOptions(tuple(options.items())) if endpoint.carries_keep_alive else RunnerOptions()
        request = ModelRequest(model, endpoint, runner, asked if endpoint.carries_keep_alive else None)
        facts = ModelFacts(model, f"sha256-{model}", SIZES[model])
        self._happens(ev.RequestArrived(self.at, self.next_id, request, facts))

    @rule(model=MODELS)
    def a_client_unloads(self, model: str) -> None:
        self.next_id += 1
        self.unanswered.add(self.next_id)
        request = ModelRequest(model, Endpoint.GENERATE, keep_alive=0, is_unload=True)
        self._happens(
            ev.RequestArrived(self.at, self.next_id, request, ModelFacts(model, f"sha256-{model}", SIZES[model]))
        )

    @precondition(lambda self: self.running)
    @rule(data=st.data(), ending=st.sampled_from(list(ev.Ending)))
    def a_running_request_ends(self, data: st.DataObject, ending: ev.Ending) -> None:
        request_id = data.draw(st.sampled_from(sorted(self.running)))
        del self.running[request_id]
        self._happens(ev.RequestEnded(self.at, request_id, ending, 200))

    @precondition(lambda self: self.unanswered)
    @rule(data=st.data())
    def a_waiting_client_leaves(self, data: st.DataObject) -> None:
        request_id = data.draw(st.sampled_from(sorted(self.unanswered)))
        self.unanswered.discard(request_id)
        self._happens(ev.RequestEnded(self.at, request_id, ev.Ending.CLIENT_GONE))

    @precondition(lambda self: self.todo)
    @rule(data=st.data(), fails=st.sampled_from([False] * 9 + [True]))
    def something_is_carried_out(self, data: st.DataObject, *, fails: bool) -> None:
        self._carry_out(data.draw(st.integers(0, len(self.todo) - 1)), "it failed" if fails else None)

    @rule(seconds=st.sampled_from([0.01, 1.0, 3.0, 30.0, 400.0, 90_000.0]))
    def time_passes(self, seconds: float) -> None:
        self.at += seconds
        self._happens(ev.Tick(self.at))

    @rule()
    def ps_is_polled(self) -> None:
        self._observe()

    @rule()
    def ps_does_not_answer(self) -> None:
        self._happens(ev.ResidentsUnknown(self.at, "no answer"))

    @precondition(lambda self: self.loaded)
    @rule(data=st.data())
    def a_model_leaves_behind_our_back(self, data: st.DataObject) -> None:
        del self.loaded[data.draw(st.sampled_from(sorted(self.loaded)))]

    @rule(model=MODELS)
    def a_model_comes_behind_our_back(self, model: str) -> None:
        self.loaded.setdefault(model, 4096)

    @rule(changes=SETTINGS_OF_ALL_KINDS)
    def the_settings_change(self, changes: dict[str, Any]) -> None:
        self.settings = replace(SETTINGS, **changes)
        self._happens(ev.SettingsChanged(self.at, self.settings))

    @rule(others_gib=st.sampled_from([0, 3, 20]))
    def the_driver_is_asked(self, others_gib: int) -> None:
        free = max(0, (24 - others_gib) * GIB - sum(SIZES[model] for model in self.loaded))
        self.driver_asked = True
        self._happens(ev.MemoryObserved(self.at, 24 * GIB, free, 1, "a driver"))

    @rule(event=st.sampled_from(STRANGERS))
    def something_is_reported_that_was_never_asked_for(self, event: ev.Event) -> None:
        before = self.engine.state.operation, list(self.engine.state.residents)
        self._happens(event._replace(at=self.at) if isinstance(event, tuple) else replace(event, at=self.at))
        assert (self.engine.state.operation, list(self.engine.state.residents)) == before

    # What must always hold

    @invariant()
    def every_held_request_is_known_to_wait(self) -> None:
        assert set(self.engine.state.held) == self.unanswered

    @invariant()
    def counts_of_requests_in_flight_are_right(self) -> None:
        state = self.engine.state
        assert set(state.in_flight) == set(self.running)
        for resident in state.residents.values():
            assert set(resident.serving) <= set(self.running)

    def teardown(self) -> None:
        """Nobody starves: when running requests end and everything succeeds, all who wait are served."""
        self._observe()
        for _ in range(400):
            if not self.unanswered and not self.todo:
                break
            for request_id in sorted(self.running):
                del self.running[request_id]
                self._happens(ev.RequestEnded(self.at, request_id, ev.Ending.ANSWERED, 200))
            while self.todo:
                self._carry_out(0, None)
            self.at += 1
            self._happens(ev.Tick(self.at))
        assert not self.unanswered
        assert self.engine.state.operation is None or not self.todo

    # The world around the engine

    def _happens(self, event: ev.Event) -> None:
        busy_before = {model for model in self.running.values() if isinstance(event, ev.Tick | ev.RequestArrived)}
        before = self.engine.state.operation
        effects = self.engine.handle(event)
        begun = self.engine.state.operation
        if begun is not None and begun is not before and begun.cause is fx.Cause.WARM_UP:
            assert not self.unanswered, "a model is loaded ahead of use while someone waits"
        for effect in effects:
            match effect:
                case fx.Forward():
                    assert effect.request_id in self.unanswered, "an effect for a request that is not there"
                    self.unanswered.discard(effect.request_id)
                    flight = self.engine.state.in_flight[effect.request_id]
                    self.running[effect.request_id] = flight.model or ""
                    self._check_keep_alive(effect, flight.model)
                case fx.Unload():
                    serving = self.engine.state.residents[effect.model].serving
                    assert not serving or effect.cause is fx.Cause.CLIENT, "a busy model is unloaded"
                    assert effect.model not in busy_before or effect.cause is fx.Cause.CLIENT
                    self.todo.append(effect)
                case fx.Load():
                    self._check_budget(effect)
                    assert not any(isinstance(other, fx.Load) for other in self.todo), "two loads at once"
                    self.todo.append(effect)
                case fx.Touch() | fx.Settle() | fx.Observe():
                    self.todo.append(effect)
                case fx.WakeAt():
                    assert effect.at >= event.at, "it wants to be woken in the past"
                case _:
                    pass

    def _check_keep_alive(self, effect: fx.Forward, model: str | None) -> None:
        operation = self.engine.state.operation
        if isinstance(effect.keep_alive, int):
            longest = max(self.settings.keep_alive_max_seconds, SETTINGS.keep_alive_max_seconds)
            assert 0 <= effect.keep_alive <= longest + len(SIZES)
            if operation is not None and operation.load_under_way:
                assert operation.model == model, "keep_alive reached another model during a load"
        elif effect.keep_alive is KeepAlive.AS_IT_CAME and operation is not None:
            assert effect.outcome is not fx.Outcome.WARM or model is not None

    def _check_budget(self, load: fx.Load) -> None:
        others = [r.vram_bytes for r in self.engine.state.residents.values() if r.model != load.model]
        budget = self.settings.budget_bytes or (24 * GIB if self.driver_asked else math.inf)
        assert not others or sum(others) + SIZES[load.model] <= budget, "more is loaded than the budget allows"

    def _carry_out(self, index: int, error: str | None) -> None:
        effect = self.todo.pop(index)
        self.at += 0.01
        match effect:
            case fx.Load():
                if error is None:
                    self.loaded[effect.model] = effect.options.num_ctx or 4096
                self._happens(ev.LoadEnded(self.at, effect.model, 0.01, error))
                self._observe()
            case fx.Unload():
                if error is None:
                    self.loaded.pop(effect.model, None)
                self._happens(ev.UnloadEnded(self.at, effect.model, 0.01, error))
            case fx.Touch():
                self._happens(ev.TouchEnded(self.at, effect.model, error))
            case fx.Settle():
                self._happens(ev.Settled(self.at))
            case _:
                self._observe()

    def _observe(self) -> None:
        lines = tuple(
            ObservedResident(
                model, SIZES[model], min(SIZES[model], 24 * GIB), context, self.at + 300, f"sha256-{model}"
            )
            for model, context in self.loaded.items()
        )
        self._happens(ev.ResidentsObserved(self.at, self.at, lines))


TestEngineMachine = EngineMachine.TestCase
TestEngineMachine.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
