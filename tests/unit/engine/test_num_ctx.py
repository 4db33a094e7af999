from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from proxy.domain import effects as fx
from proxy.domain import events as ev
from proxy.domain.effects import Cause, Outcome
from proxy.domain.model import Endpoint, ModelFacts, ModelRequest, RunnerOptions
from proxy.domain.settings import ModelRule, NumCtx
from tests.unit.engine.transcript import GIB, Transcript

SIZES = {"small": 4.0}
DAY = 86400.0


class Script(Transcript):
    """A transcript whose Ollama loads what it is asked for, and knows facts of its models."""

    def __init__(self, *rules: tuple[str, ModelRule], num_ctx: NumCtx = NumCtx.UNIFY, **facts: Any) -> None:
        super().__init__(SIZES, rules, num_ctx=num_ctx)
        self.facts = facts
        self.contexts: list[int] = []
        self.ps()

    def ask(self, num_ctx: float | None = None, endpoint: Endpoint = Endpoint.CHAT) -> fx.Forward:
        """A request is asked, served and answered; returns how it was forwarded."""
        values = () if num_ctx is None else (("num_ctx", num_ctx),)
        self._next_id += 1
        request_id = self._next_id
        facts = replace(ModelFacts("small:latest", "sha256-small:latest", 4 * GIB), **self.facts)
        request = ModelRequest("small:latest", endpoint, RunnerOptions(values))
        self.happens(ev.RequestArrived(self.at, request_id, request, facts))
        while request_id not in self.forwarded():
            match self.todo[0]:
                case fx.Load(options=options):
                    context = options.num_ctx or self.facts.get("default_num_ctx") or 4096
                    self.contexts.append(min(context, self.facts.get("train_context", context)))
                    self.loads("small", context=self.contexts[-1])
                case _:
                    self.carries_out()
        self.ends(request_id)
        self.after(10)
        return self.forwarded()[request_id]


def test_clients_with_different_contexts_reload_the_model_at_each_turn_where_each_is_served_as_asked() -> None:
    script = Script(num_ctx=NumCtx.AS_ASKED)
    assert [script.ask(num_ctx).num_ctx for num_ctx in (2048, 8192, 2048, 8192)] == [None] * 4
    assert script.contexts == [2048, 8192, 2048, 8192]


def test_unified_the_longer_context_serves_both_once_it_is_loaded() -> None:
    script = Script()
    written = [script.ask(num_ctx).num_ctx for num_ctx in (2048, 8192, 2048, 8192, 2048)]
    assert script.contexts == [2048, 8192]
    assert written == [None, None, 8192, None, 8192]
    assert "num_ctx 8192 serves others too" in script.forwarded()[3].reason


def test_a_model_that_is_loaded_again_is_loaded_for_all_who_asked_within_a_day() -> None:
    script = Script()
    for num_ctx in (2048, 8192):
        script.ask(num_ctx)
    script.happens(ev.ResidentsObserved(script.at, script.at, ()))
    assert script.ask(2048).outcome is Outcome.COLD
    assert script.contexts == [2048, 8192, 8192]
    script.after(DAY)
    script.happens(ev.ResidentsObserved(script.at, script.at, ()))
    script.ask(2048)
    assert script.contexts[-1] == 2048  # nobody asked for more today


def test_a_model_that_runs_with_more_than_is_asked_for_is_not_loaded_again_for_less() -> None:
    script = Script()
    script.ask(8192)
    for _ in range(40):  # two days: nobody asks for 8192 any more
        script.after(DAY / 20)
        script.ps()
        assert script.ask(2048).num_ctx == 8192
    assert script.contexts == [8192]


def test_a_request_that_asks_nothing_keeps_ollamas_choice_until_a_longer_context_is_loaded() -> None:
    script = Script()
    assert script.ask().num_ctx is None
    assert script.ask(8192).num_ctx is None
    assert script.ask().num_ctx == 8192
    assert script.contexts == [4096, 8192]


def test_a_shorter_context_than_the_automatic_one_is_served_by_that() -> None:
    script = Script()
    for _ in range(3):
        script.ask()
        assert script.ask(2048).num_ctx == 4096
    assert script.contexts == [4096]


def test_a_model_used_through_v1_too_is_loaded_with_the_context_that_v1_can_have() -> None:
    script = Script()
    script.ask()
    script.ask(8192)
    script.ask(endpoint=Endpoint.V1_CHAT)
    assert script.contexts == [4096, 8192, 4096]
    assert script.ask(2048).num_ctx == 4096  # not 8192: the next one through v1 would load it again
    assert script.ask(endpoint=Endpoint.V1_CHAT).num_ctx is None
    assert script.contexts == [4096, 8192, 4096]
    assert script.ask(8192).num_ctx is None  # what it needs, it gets
    assert script.contexts[-1] == 8192


def test_a_modelfiles_context_is_what_a_request_that_asks_nothing_needs() -> None:
    script = Script(default_num_ctx=16_384)
    script.ask(8192)
    assert script.ask().num_ctx is None
    assert script.ask(8192).num_ctx == 16_384
    assert script.contexts == [8192, 16_384]


def test_nothing_is_written_above_what_the_model_was_made_for() -> None:
    script = Script(train_context=8192)
    for num_ctx in (2048, 100_000, 2048, 100_000, 8192):
        written = script.ask(num_ctx).num_ctx
        assert written in (None, 8192)
    assert script.contexts == [2048, 8192]


def test_what_would_not_fit_in_the_budget_is_not_unified_to() -> None:
    script = Script(kv_bytes_per_token=2**20, train_context=2**20)  # 1 GiB for 1024 tokens, of 20
    script.ask(30_000)
    script.happens(ev.ResidentsObserved(script.at, script.at, ()))
    script.ask(16_384)
    script.happens(ev.ResidentsObserved(script.at, script.at, ()))
    script.ask(2048)
    assert script.contexts == [30_000, 16_384, 16_384]


def test_a_context_whose_memory_is_not_known_is_not_unified_to_before_it_was_seen() -> None:
    script = Script()
    script.engine.state.usage.arrived("small:latest", script.at)
    script.engine.state.usage.asked_for_context("small:latest", 10**30, script.at)  # Ollama may well refuse that
    script.ask(2048)
    assert script.contexts == [2048]


@pytest.mark.parametrize("nonsense", [0, -1, 4096.5, "many", True])
def test_a_num_ctx_that_is_none_is_left_to_ollama(nonsense: Any) -> None:
    script = Script()
    script.ask(8192)
    assert script.ask(nonsense).num_ctx is None


def test_a_single_model_can_be_unified_or_left_out() -> None:
    for general, particular, expected in (
        (NumCtx.AS_ASKED, NumCtx.UNIFY, [2048, 8192]),
        (NumCtx.UNIFY, NumCtx.AS_ASKED, [2048, 8192, 2048]),
    ):
        script = Script(("small", ModelRule(num_ctx=particular)), num_ctx=general)
        for num_ctx in (2048, 8192, 2048):
            script.ask(num_ctx)
        assert script.contexts == expected


def test_after_a_reload_by_ollama_the_model_is_known_to_run_with_what_was_written() -> None:
    script = Script()
    script.ask(2048)
    script.ask(8192)
    request_id = script.asks("small", options={"num_ctx": 2048})
    script.ends(request_id, figures=ev.AnswerFigures(load_seconds=3.0))
    runs = script.engine.state.residents["small:latest"].runs
    assert runs is not None
    assert runs.options.num_ctx == 8192


def test_the_longer_context_is_loaded_by_ourselves_and_counted_as_a_reload() -> None:
    script = Script()
    script.ask(2048)
    script.ask(8192)
    loaded = [effect.cause for effect in script.log if isinstance(effect, fx.Loaded)]
    assert loaded == [Cause.COLD, Cause.RELOAD]
