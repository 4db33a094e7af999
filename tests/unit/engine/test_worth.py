from __future__ import annotations

import pytest

from proxy.domain import effects as fx
from proxy.domain import events as ev
from proxy.domain.model import ModelFacts, RunnerOptions
from proxy.domain.settings import ModelRule
from proxy.engine import worth
from tests.unit.engine.transcript import GIB, Transcript

SIZES = {"small": 4.0, "middle": 9.0, "large": 10.0, "other": 9.0}
DEFAULT = RunnerOptions()


def context(tokens: int) -> RunnerOptions:
    return RunnerOptions((("num_ctx", tokens),))


def knowing(**facts: int) -> Transcript:
    """Nothing is loaded, but what Ollama tells of the model small is known."""
    script = Transcript(SIZES)
    script.ps()
    script.engine.state.learnt("small:latest").facts = ModelFacts("small:latest", "sha256-small", 4 * GIB, **facts)
    return script


def reload(script: Transcript, model: str, tokens: int, gib: float) -> None:
    request_id = script.asks(model, options={"num_ctx": tokens})
    while not isinstance(script.todo[0], fx.Load):
        script.carries_out()
    script.loads(model, context=tokens, gib=gib)
    script.ends(request_id)
    script.after(10)


# Size


def test_before_its_first_load_a_models_size_is_its_weights_and_its_context() -> None:
    state = knowing(kv_bytes_per_token=1024, train_context=8192).engine.state
    assert worth.needed_bytes(state, "small:latest", context(4096)) == 4 * GIB + 4096 * 1024
    assert worth.needed_bytes(state, "small:latest", context(100_000)) == 4 * GIB + 8192 * 1024  # made for no more


def test_where_nobody_asks_for_a_context_ollama_takes_one_by_the_memory_there_is() -> None:
    state = knowing(kv_bytes_per_token=1024).engine.state  # 24 GiB: 32768 tokens
    assert worth.needed_bytes(state, "small:latest", DEFAULT) == 4 * GIB + 32_768 * 1024
    state.learnt("small:latest").automatic_context = 4096  # as it was seen
    assert worth.needed_bytes(state, "small:latest", DEFAULT) == 4 * GIB + 4096 * 1024


def test_a_size_that_was_seen_counts_for_its_context_alone_and_no_less_than_ollama_predicts() -> None:
    script = Transcript(SIZES).warmed("small")
    reload(script, "small", 16_384, 6.0)
    reload(script, "small", 1024, 3.0)
    state = script.engine.state
    assert worth.needed_bytes(state, "small:latest", context(16_384)) == 6 * GIB
    assert worth.needed_bytes(state, "small:latest", context(1024)) == 4 * GIB  # the file alone: Ollama asks for that
    assert worth.needed_bytes(state, "small:latest", DEFAULT) == 4 * GIB


def test_of_a_model_that_nothing_is_known_of_the_size_is_0() -> None:
    state = Transcript(SIZES).engine.state
    assert worth.needed_bytes(state, "nobody:latest", DEFAULT) == 0
    assert worth.likely_bytes(state, "nobody:latest") == 0


def test_what_a_model_will_likely_take_is_what_it_took_when_it_was_loaded_last() -> None:
    script = Transcript(SIZES)
    script.ps()
    for tokens, gib in ((4096, 4.0), (16_384, 6.0), (4096, 4.0)):
        reload(script, "small", tokens, gib)
    assert worth.likely_bytes(script.engine.state, "small:latest") == 4 * GIB


# Load seconds


def test_before_its_first_load_a_model_is_taken_to_load_as_fast_as_a_disk_reads() -> None:
    script = knowing()
    assert worth.load_seconds(script.engine.state, "small:latest", script.at) == pytest.approx(1 + 4 * GIB / 2.5e9)


def test_load_seconds_are_learnt_apart_by_whether_the_file_is_still_in_main_memory() -> None:
    script = Transcript(SIZES)
    script.ps()
    request_id = script.asks("small")
    script.loads("small", seconds=20.0)  # from disk
    script.ends(request_id)
    state = script.engine.state
    assert worth.page_cache_warm(state, "small:latest", script.at)
    script.asks("small", keep_alive=0, unload=True)
    script.unloads("small")
    script.ends(script.asks("small"), ev.Ending.CLIENT_GONE)
    script.settles()
    script.loads("small", seconds=2.0)  # from main memory
    assert worth.load_seconds(state, "small:latest", script.at) == pytest.approx(2.0)
    del script.resident["small:latest"]
    script.after(1).ps()
    assert worth.load_seconds(state, "small:latest", script.at + 60) == pytest.approx(2.0)
    assert worth.load_seconds(state, "small:latest", script.at + 2 * 3600) == pytest.approx(20.0)


# What policies see


def test_a_weight_makes_a_models_absence_as_much_worse() -> None:
    losses = []
    for weight in (1.0, 3.0):
        script = Transcript(SIZES, [("small", ModelRule(weight=weight))]).warmed("small")
        losses.append(worth.loss(script.engine.state, "small:latest", script.at).seconds)
    assert losses[1] == pytest.approx(3 * losses[0])


def test_an_idle_resident_is_shown_with_what_ollama_believes_and_what_its_absence_costs() -> None:
    script = Transcript(SIZES, [("middle", ModelRule(pin=True))]).warmed("middle", "small")
    memory = worth.memory(script.engine.state, script.at)
    middle, small = memory.residents
    assert (middle.model, middle.bytes, middle.believed_bytes) == ("middle:latest", 9 * GIB, 15 * GIB)
    assert (middle.pinned, small.pinned) == (True, False)
    assert (small.busy, small.idle_seconds, small.load_seconds) == (False, 12.0, 2.0)
    assert small.loss_seconds > 0
    assert (memory.budget_bytes, memory.max_models, memory.settle_seconds) == (24 * GIB, 3, 0.5)


def test_a_resident_can_be_left_out() -> None:
    script = Transcript(SIZES).warmed("middle", "small")
    memory = worth.memory(script.engine.state, script.at, without=["middle:latest"])
    assert [resident.model for resident in memory.residents] == ["small:latest"]


def test_a_busy_resident_is_expected_to_run_for_its_usual_time_or_for_as_long_again_as_it_has_run() -> None:
    script = Transcript(SIZES).warmed("small")
    first = script.asks("small")
    script.after(30).ends(first)
    usual = script.engine.state.usage.service_seconds("small:latest", -1.0)
    assert usual > 5

    def remaining() -> float:
        return worth.memory(script.engine.state, script.at).residents[0].remaining_seconds

    assert remaining() == 0
    script.asks("small")
    assert remaining() == usual
    script.after(usual / 2)
    assert remaining() == usual
    script.after(1000)
    assert remaining() == pytest.approx(1000 + usual / 2)


def test_a_busy_resident_is_never_expected_to_be_idle_at_once() -> None:
    script = Transcript(SIZES).warmed("small")  # answered in no time
    script.asks("small")
    assert worth.memory(script.engine.state, script.at).residents[0].remaining_seconds == 0.5


def test_every_model_that_was_ever_used_may_be_wanted_next() -> None:
    script = Transcript(SIZES).warmed("middle", "small")
    script.asks("middle", keep_alive=0, unload=True)
    script.unloads("middle")
    wanted = {each.model: each for each in worth.wanted(script.engine.state, script.at)}
    assert {model: each.bytes for model, each in wanted.items()} == {
        "middle:latest": 9 * GIB,
        "small:latest": 4 * GIB,
    }
    assert all(each.hazard > 0 for each in wanted.values())


# Who asks


def test_a_model_counts_more_if_those_ask_for_it_whose_waiting_counts_more() -> None:
    script = Transcript(SIZES, client_weights={"boss": 4.0})
    script.ps()
    for name, client in (("middle", "boss"), ("other", "clerk")):  # alike in all else
        script.client = client
        script.ends(script.asks(name))
    state = script.engine.state
    assert worth.weight(state, "middle:latest") == 4.0
    assert worth.weight(state, "other:latest") == 1.0
    assert worth.loss(state, "middle:latest", script.at).seconds == pytest.approx(
        4.0 * worth.loss(state, "other:latest", script.at).seconds
    )


def test_the_weight_of_a_client_multiplies_that_of_the_model() -> None:
    script = Transcript(SIZES, client_weights={"boss": 4.0}, rules=(("small", ModelRule(weight=0.5)),))
    script.ps()
    script.client = "boss"
    script.asks("small")
    assert worth.weight(script.engine.state, "small:latest") == 2.0


@pytest.mark.parametrize(("clerks", "boss_has"), [("one", "two"), ("two", "one")])
def test_of_two_models_alike_the_one_of_the_client_that_counts_less_has_to_leave(clerks: str, boss_has: str) -> None:
    sizes = {"one": 4.0, "two": 4.0, "three": 4.0}
    script = Transcript(sizes, max_models=2, client_weights={"boss": 9.0}).warmed("one", "two")
    for _ in range(5):
        for name, client in ((clerks, "clerk"), (boss_has, "boss"), (clerks, "clerk")):
            script.after(10)
            script.client = client
            script.ends(script.asks(name))
    script.after(10)
    script.asks("three")
    assert [effect.model for effect in script.todo if isinstance(effect, fx.Unload)] == [f"{clerks}:latest"]


def test_what_a_load_takes_is_told_by_context_as_it_was_seen_else_as_last_time() -> None:
    script = knowing()
    reload(script, "a", 1024, 5)
    reload(script, "a", 2048, 6)
    sizes = [
        worth.costs(script.engine.state, "a:latest", context(tokens), script.at).bytes for tokens in (1024, 2048, 512)
    ]
    assert sizes == [5 * GIB, 6 * GIB, 6 * GIB]
