"""The scheduler's model is held to what the running Ollama 0.32.15 did (tests/data/recordings)."""

from __future__ import annotations

import random
from heapq import heappop, heappush

import pytest

from proxy.sim.outcomes import Kind
from proxy.sim.scheduler import Scheduler
from tests.unit.sim.replays import HASHES, PlainLru, Step, ask_directly, follow, read, settings, specs

WORLDS = 300  # 100 suffice; where chance decides three times in a row, one in 200 worlds agrees with the recording
OVERLAPPING_RUNS = 200


@pytest.mark.parametrize(("name", "keep_alive", "max_loaded"), [("A", 25, 3), ("B", 3600, 8)])
def test_each_step_of_a_sequential_recording_is_possible(name: str, keep_alive: float, max_loaded: int) -> None:
    steps = read(name)
    assert len(steps) == 150
    assert follow(steps, settings(keep_alive, max_loaded), ask_directly, WORLDS) is None


def test_each_step_of_the_recording_behind_a_plain_proxy_is_possible() -> None:
    assert follow(read("C"), settings(3600, 8), PlainLru().ask, WORLDS) is None


def test_a_recording_that_did_not_happen_is_noticed() -> None:
    steps = read("A")
    slower = steps[20]._replace(wait_seconds=steps[20].wait_seconds + 3)
    deviation = follow([*steps[:20], slower, *steps[21:]], settings(25, 3), ask_directly, WORLDS)
    assert deviation is not None
    assert deviation.step == slower


def test_the_waits_of_overlapping_requests_lie_within_what_is_simulated() -> None:
    """Which of two equals is evicted depends on digests that were not recorded: each run has its own order."""
    steps = read("E")
    runs = [overlapping_waits(steps, seed) for seed in range(OVERLAPPING_RUNS)]
    totals = [sum(run.values()) for run in runs]
    assert min(totals) <= sum(step.wait_seconds for step in steps) <= max(totals)
    for step in steps:
        waits = [run[step.index] for run in runs]
        assert min(waits) - 0.6 <= step.wait_seconds <= max(waits) + 0.6, step


def overlapping_waits(steps: list[Step], seed: int) -> dict[int, float]:
    """How long each request waits, in one possible world."""
    rng = random.Random(seed)
    hashes = rng.sample(HASHES, len(HASHES))
    models, scheduler = specs(tuple(hashes)), Scheduler(settings(25, 3, num_parallel=64), rng)
    waits: dict[int, float] = {}
    issues = [(step.issued_at, step.index) for step in steps]
    by_index = {step.index: step for step in steps}
    ends: list[tuple[float, int]] = []
    while len(waits) < len(steps):
        now = min(heap[0][0] for heap in (issues, ends, [(scheduler.next_event_at(), 0)]) if heap)
        if issues and issues[0][0] == now:
            _, index = issues.pop(0)
            scheduler.submit(now, index, models[by_index[index].model])
        elif ends and ends[0][0] == now:
            scheduler.end(now, heappop(ends)[1])
        for outcome in scheduler.advance(now):
            if outcome.kind is Kind.GRANTED:
                step = by_index[outcome.request_id]
                waits[step.index] = outcome.at - step.issued_at
                heappush(ends, (outcome.at + step.service_seconds, step.index))
    return waits
