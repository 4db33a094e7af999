"""The scheduler's model, fact by fact (OLLAMA.md), where a recording does not reach; no clock, no sleep."""

from __future__ import annotations

import random
from math import inf

import pytest

from proxy.sim.models import FOREVER_SECONDS, GIB, ModelSpec, RunnerOptions, SchedulerOptions
from proxy.sim.outcomes import Kind
from proxy.sim.scheduler import Scheduler

A, B, C, D = (ModelSpec(name, name, GIB, load_seconds=1.0) for name in "abcd")
BIG = ModelSpec("big", "big", 17 * GIB, load_seconds=4.0)
NINE = ModelSpec("nine", "nine", 9 * GIB, load_seconds=2.0)


class Transcript:
    """A scheduler, and what it told."""

    def __init__(self, seed: int = 1, **options: float) -> None:
        settings = {"gpu_bytes": 24 * GIB} | options
        self.failing: set[str] = set()
        self.scheduler = Scheduler(SchedulerOptions(**settings), random.Random(seed), self.failing)  # type: ignore[arg-type]
        self.told: list[tuple[str, float, str]] = []
        self.ids = 0

    def ask(
        self,
        at: float,
        model: ModelSpec,
        keep_alive: float | None = None,
        options: RunnerOptions = RunnerOptions(),  # noqa: B008  immutable
        until: float | None = None,
    ) -> int:
        """A request at `at`, which ends at `until` if that is given."""
        self.ids += 1
        self.scheduler.submit(at, self.ids, model, keep_alive, options)
        if until is not None:
            self.end(until, self.ids)
        return self.ids

    def end(self, at: float, request_id: int) -> None:
        """A request's answer is complete, or its client leaves."""
        self.look(at)
        self.scheduler.end(at, request_id)

    def look(self, at: float) -> list[str]:
        """Lets time pass; the loaded models."""
        self.told += [(o.kind.name, round(o.at, 3), o.model) for o in self.scheduler.advance(at)]
        return [view.name for view in self.scheduler.residents(at)]

    def when(self, kind: Kind, model: ModelSpec) -> list[float]:
        """When something happened to a model."""
        return [at for name, at, subject in self.told if (name, subject) == (kind.name, model.name)]


def test_a_cold_request_is_granted_when_its_load_has_ended() -> None:
    script = Transcript()
    script.ask(10, A)
    script.look(20)
    assert script.told == [
        ("LOAD_STARTED", 10, "a"),
        ("LOADED", 11, "a"),
        ("GRANTED", 11, "a"),
        ("STARTED", 11, "a"),
    ]


def test_a_warm_request_is_granted_at_once() -> None:
    script = Transcript()
    script.ask(0, A, until=2)
    script.ask(3, A)
    script.look(3)
    assert script.when(Kind.GRANTED, A) == [1, 3]


def test_the_timer_starts_at_the_last_end_and_takes_the_last_keep_alive_that_was_written() -> None:
    script = Transcript()
    first = script.ask(0, A, keep_alive=50)
    second = script.ask(5, A)
    script.end(10, first)
    script.end(20, second)
    assert script.look(69.9) == ["a"]
    assert script.look(70) == []


def test_a_deadline_that_moves_nearer_is_met() -> None:
    script = Transcript()
    script.ask(0, A, keep_alive=500, until=1)
    script.ask(2, A, keep_alive=10, until=3)
    assert script.look(12.9) == ["a"]
    assert script.look(13) == []
    script.look(13.5)
    assert script.scheduler.next_event_at() == 501  # the alarm of the first deadline, which finds nothing to do
    script.look(600)
    assert script.scheduler.next_event_at() == inf


def test_for_ever_is_292_years() -> None:
    script = Transcript()
    script.ask(0, A, keep_alive=-1, until=5)
    [view] = script.scheduler.residents(5)
    assert view.expires_at == pytest.approx(5 + FOREVER_SECONDS)


def test_a_model_that_is_still_busy_shows_its_older_deadline() -> None:
    script = Transcript()
    script.ask(0, A, keep_alive=100, until=10)
    script.ask(50, A, keep_alive=900)
    [view] = script.scheduler.residents(60)
    assert (view.expires_at, view.requests) == (110, 1)


def test_requests_to_one_model_run_num_parallel_at_a_time_in_order() -> None:
    script = Transcript(num_parallel=2)
    ids = [script.ask(0, A) for _ in range(4)]
    script.look(1)
    assert script.when(Kind.GRANTED, A) == [1, 1, 1, 1]
    assert script.when(Kind.STARTED, A) == [1, 1]
    script.end(5, ids[2])  # it waited behind others, and its client leaves
    script.end(6, ids[0])
    script.look(6)
    assert script.when(Kind.STARTED, A) == [1, 1, 6]


def test_an_embedding_model_serves_one_at_a_time() -> None:
    script = Transcript(num_parallel=4)
    embedding = ModelSpec("e", "e", GIB, load_seconds=1.0, embedding=True)
    script.ask(0, embedding)
    script.ask(0, embedding)
    script.look(2)
    assert script.when(Kind.STARTED, embedding) == [1]


def test_the_cap_evicts_the_idle_model_of_shortest_keep_alive_and_then_of_smallest_digest() -> None:
    script = Transcript(max_loaded_models=3)
    for at, model, keep_alive in ((0, C, 60), (10, B, 60), (20, A, 90)):
        script.ask(at, model, keep_alive, until=at + 2)
    script.ask(30, D)
    script.look(30)
    assert script.when(Kind.EVICTION, B) == [30]


def test_a_load_that_is_abandoned_makes_way_for_the_next() -> None:
    script = Transcript()
    leaver = script.ask(0, BIG)
    script.ask(1, A)
    script.end(2, leaver)
    script.look(10)
    assert script.when(Kind.LOAD_ABORTED, BIG) == [2]
    assert script.when(Kind.GRANTED, A) == [3]
    assert script.scheduler.driver_free_bytes(10) == 23 * GIB


def test_a_client_that_leaves_the_queue_is_passed_over() -> None:
    script = Transcript()
    script.ask(0, BIG)
    leaver = script.ask(1, A)
    script.ask(1, B)
    script.end(2, leaver)
    script.look(10)
    assert script.when(Kind.LOAD_STARTED, A) == []
    assert script.when(Kind.GRANTED, B) == [5]


def test_an_eviction_goes_on_though_its_client_has_left() -> None:
    script = Transcript(max_loaded_models=1)
    busy = script.ask(0, A)
    leaver = script.ask(5, B)
    script.end(6, leaver)
    script.end(7, busy)
    assert script.look(20) == []
    assert script.when(Kind.LOAD_STARTED, B) == []


def test_a_full_queue_refuses() -> None:
    script = Transcript(max_queue=2)
    for _ in range(4):  # one is being loaded, two may wait
        script.ask(0, BIG)
    script.ask(0, A)
    script.look(0)
    assert [name for name, _, _ in script.told].count("REFUSED") == 2


def test_a_load_that_fails_leaves_nothing_behind() -> None:
    script = Transcript()
    script.failing.add("a")
    request = script.ask(0, A)
    script.ask(0, B)
    script.look(5)
    assert script.when(Kind.FAILED, A) == [1]
    assert script.look(5) == ["b"]
    script.end(6, request)  # as after any other
    assert script.scheduler.driver_free_bytes(6) == 23 * GIB


def test_a_load_while_the_driver_still_counts_the_dead_spills() -> None:
    script = Transcript(driver_lag_seconds=1.5)
    script.ask(0, BIG, until=5)
    script.scheduler.unload(20, BIG)
    script.ask(20, NINE)
    script.look(30)
    [view] = script.scheduler.residents(30)
    assert (view.size_bytes, view.vram_bytes) == (9 * GIB, 7 * GIB)
    assert script.when(Kind.SPILLED, NINE) == [22]


def test_after_the_last_unload_the_driver_is_asked_until_it_sees_the_memory_free() -> None:
    script = Transcript(driver_lag_seconds=1.0, max_loaded_models=1)
    script.ask(0, A, until=5)
    script.ask(20, B)
    script.look(30)
    assert script.when(Kind.LOAD_STARTED, B) == [21.15]  # asked after 0.4, 0.65, 0.9 and 1.15 s


def test_a_mismatch_of_runner_options_reloads_and_a_busy_model_is_waited_for() -> None:
    script = Transcript()
    busy = script.ask(0, A)
    script.ask(5, A, options=RunnerOptions(num_ctx=4096))
    script.end(10, busy)
    script.look(20)
    assert script.when(Kind.UNLOADED, A) == [10]
    assert script.when(Kind.GRANTED, A) == [1, 10 + 0.4 + 1]
    assert script.scheduler.residents(20)[0].context_length == 4096


@pytest.mark.parametrize(
    "options",
    [
        RunnerOptions(num_ctx=32768),
        RunnerOptions(num_gpu=-1),
        RunnerOptions(num_batch=512),
        RunnerOptions(num_thread=0),
        RunnerOptions(shift=True),
    ],
)
def test_options_that_come_to_the_automatic_ones_reload_nothing(options: RunnerOptions) -> None:
    script = Transcript()
    script.ask(0, A, until=2)
    script.ask(5, A, options=options)
    script.look(5)
    assert script.when(Kind.GRANTED, A) == [1, 5]


def test_num_gpu_0_stays_on_the_cpu_and_costs_no_wait() -> None:
    script = Transcript(max_loaded_models=1)
    script.ask(0, A, options=RunnerOptions(num_gpu=0), until=2)
    [view] = script.scheduler.residents(2)
    assert view.vram_bytes == 0
    script.ask(10, B)
    script.look(20)
    assert script.when(Kind.LOAD_STARTED, B) == [10]


def test_num_gpu_below_all_layers_is_let_in_whatever_is_believed() -> None:
    script = Transcript()
    script.ask(0, BIG, until=5)
    script.ask(10, NINE, options=RunnerOptions(num_gpu=32))
    assert set(script.look(20)) == {"big", "nine"}


def test_a_predicted_context_counts_against_what_is_free() -> None:
    script = Transcript()
    wordy = ModelSpec("wordy", "wordy", 4 * GIB, load_seconds=1.0, predicted_kv_bytes_per_token=GIB // 16384)
    script.ask(0, BIG, until=5)
    script.ask(10, wordy)  # 4 GiB and 2 for its 32768 tokens are more than 0.8 * 7
    assert script.look(30) == ["wordy"]


def test_the_second_name_of_the_same_weights_finds_them_loaded() -> None:
    script = Transcript()
    script.ask(0, A, until=2)
    script.ask(5, ModelSpec("alias", "a", GIB, load_seconds=1.0), keep_alive=900, until=6)
    assert script.look(6) == ["a"]
    assert script.scheduler.residents(6)[0].expires_at == 906


def test_a_revived_victim_holds_up_the_load_that_waits_for_it() -> None:
    """ollama#17408."""
    script = Transcript(max_loaded_models=1)
    busy = script.ask(0, A, keep_alive=60)
    script.ask(5, B)
    script.ask(6, A, keep_alive=30, until=7)
    script.end(8, busy)
    script.look(100)
    assert script.when(Kind.LOAD_STARTED, B) == [8 + 30 + 0.4]


def test_an_expiry_that_came_while_it_waited_after_an_unload_is_kept_for_when_the_model_is_idle() -> None:
    script = Transcript()
    for at, model in enumerate((A, B, C)):
        script.ask(10 * at, model, keep_alive=100 if model is not B else 21, until=10 * at + 2)
    script.scheduler.unload(32, C)  # now it waits; B's timer runs out at 33
    script.ask(33.1, B, keep_alive=1000, until=60)
    script.look(100)
    assert script.when(Kind.UNLOADED, C) == [32]
    assert script.when(Kind.UNLOADED, B) == [60]


def test_a_clone_goes_its_own_way() -> None:
    script = Transcript(max_loaded_models=1)
    busy = script.ask(0, A)
    script.ask(1, B)
    twin = script.scheduler.clone()
    script.end(5, busy)
    script.look(20)
    assert [view.name for view in script.scheduler.residents(20)] == ["b"]
    assert [view.name for view in twin.residents(20)] == ["a"]
    twin.end(20, busy)
    twin.advance(40)
    assert [view.name for view in twin.residents(40)] == ["b"]


def test_the_same_seed_gives_the_same_story() -> None:
    def story(seed: int) -> list[tuple[str, float, str]]:
        script = Transcript(seed=seed)
        rng = random.Random(7)
        for step in range(200):
            script.ask(step * 20, rng.choice((A, B, C, D, NINE, BIG)), until=step * 20 + 19)
        return script.told

    assert story(3) == story(3)
    assert story(3) != story(4)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        SchedulerOptions(gpu_bytes=0)
    with pytest.raises(ValueError, match="driver_lag_seconds"):
        SchedulerOptions(gpu_bytes=1, driver_lag_seconds=-1)
    with pytest.raises(ValueError, match="file_bytes"):
        ModelSpec("x", "x", 0, load_seconds=1.0)


@pytest.mark.parametrize(("gib", "tokens"), [(8, 4096), (24, 32768), (48, 262144)])
def test_the_automatic_context_depends_on_the_gpu(gib: int, tokens: int) -> None:
    assert SchedulerOptions(gpu_bytes=gib * GIB).automatic_context == tokens


def test_how_long_a_model_is_kept_is_what_was_written_last() -> None:
    script = Transcript()
    assert script.scheduler.kept_seconds(A) is None
    script.ask(0.0, A, until=5.0)
    script.ask(6.0, A, keep_alive=20.0, until=7.0)
    script.scheduler.advance(10.0)
    assert script.scheduler.kept_seconds(A) == 20.0
    script.scheduler.advance(30.0)
    assert script.scheduler.kept_seconds(A) is None


def test_a_gpu_may_turn_out_to_have_less_memory() -> None:
    scheduler = Scheduler(SchedulerOptions(48 * GIB), random.Random(0))
    scheduler.submit(0.0, 1, BIG)
    scheduler.advance(4.0)
    scheduler.resize(SchedulerOptions(24 * GIB))
    assert scheduler.driver_free_bytes(4.0) == 7 * GIB
    scheduler.submit(5.0, 2, NINE)  # would have fitted beside it before
    assert [outcome.kind for outcome in scheduler.advance(5.0)] == [Kind.EVICTION]
