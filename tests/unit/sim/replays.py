"""The recorded replays of the running Ollama, and a filter that follows them; asserts nothing."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from proxy.sim.models import ModelSpec, SchedulerOptions
from proxy.sim.outcomes import Kind
from proxy.sim.scheduler import Scheduler

if TYPE_CHECKING:
    from collections.abc import Callable

RECORDINGS = Path(__file__).parents[2] / "data" / "recordings"
MIB = 1 << 20
TOTAL_MIB = 24576
SIZES_MIB = (333, 2355, 4422, 4994, 9165, 9479, 13487, 18312)
LOAD_SECONDS = (0.26, 0.26, 0.26, 0.26, 0.26, 0.26, 0.27, 0.53)
HASHES = ("51292a05", "f372511f", "86fa4d22", "63621ef4", "74eff35e", "06d20224", "abef62e6", "ceace45c")
ANSWER_SECONDS = 0.01  # each answer of the sequential replays is a few tokens
LOOK_SECONDS = 0.03  # the recorder looked at /api/ps this long after the answer had begun


class Step(NamedTuple):
    """One line of a recording."""

    index: int
    model: int
    issued_at: float
    wait_seconds: float
    residents_after: int
    service_seconds: float


def read(name: str) -> list[Step]:
    """The steps of a recording in order of issue."""
    lines = (RECORDINGS / f"replay_{name}.txt").read_text().splitlines()
    return sorted(
        Step(int(i), int(m), float(at), float(wait), int(mask), float(service))
        for i, m, at, wait, mask, service in map(str.split, lines)
    )


def specs(hashes: tuple[str, ...] = HASHES) -> list[ModelSpec]:
    """The eight models of the recordings."""
    return [
        ModelSpec(name=str(i), weights=hashes[i], file_bytes=SIZES_MIB[i] * MIB, load_seconds=LOAD_SECONDS[i])
        for i in range(len(SIZES_MIB))
    ]


def settings(keep_alive_seconds: float, max_loaded_models: int, num_parallel: int = 1) -> SchedulerOptions:
    """Ollama's settings in a recording."""
    return SchedulerOptions(
        gpu_bytes=TOTAL_MIB * MIB,
        max_loaded_models=max_loaded_models,
        default_keep_alive_seconds=keep_alive_seconds,
        num_parallel=num_parallel,
    )


def mask_of(scheduler: Scheduler, now: float) -> int:
    """The loaded models at `now`, as the recordings write them."""
    return sum(1 << int(view.name) for view in scheduler.residents(now))


def granted_at(scheduler: Scheduler, request_id: int) -> float:
    """Lets time pass until a request is granted."""
    now = 0.0
    while True:
        for outcome in scheduler.advance(now):
            if outcome.kind is Kind.GRANTED and outcome.request_id == request_id:
                return outcome.at
        now = scheduler.next_event_at()


def ask_directly(scheduler: Scheduler, now: float, step: Step, models: list[ModelSpec]) -> float:
    """The client talks to Ollama: when is it granted?"""
    scheduler.submit(now, step.index, models[step.model])
    return granted_at(scheduler, step.index)


@dataclass
class PlainLru:
    """The proxy of recording C: before a miss it unloads, least recently used first, by the plain 80 % rule."""

    last_use: dict[int, int] = field(default_factory=dict)

    def ask(self, scheduler: Scheduler, now: float, step: Step, models: list[ModelSpec]) -> float:
        """The client talks to the proxy: when is it granted?"""
        residents = sorted((int(view.name) for view in scheduler.residents(now)), key=lambda m: self.last_use[m])
        if step.model not in residents:
            victims = []
            while residents and SIZES_MIB[step.model] > 0.8 * (TOTAL_MIB - sum(SIZES_MIB[m] for m in residents)):
                victims.append(residents.pop(0))
            for victim in victims:
                scheduler.unload(now, models[victim])
            while any(int(view.name) in victims for view in scheduler.residents(now)):
                now = scheduler.next_event_at()
        self.last_use[step.model] = step.index
        return ask_directly(scheduler, now, step, models)


class Deviation(NamedTuple):
    """A recorded step that no followed world thinks possible."""

    step: Step
    possible: set[tuple[float, int]]


@dataclass(slots=True)
class _World:
    """One of the possible worlds, with its own clock: a wait that is a little longer there delays what follows."""

    scheduler: Scheduler
    now: float = 0.0


def follow(
    steps: list[Step],
    options: SchedulerOptions,
    ask: Callable[[Scheduler, float, Step, list[ModelSpec]], float],
    worlds: int,
) -> Deviation | None:
    """Follows a sequential recording with a particle filter: only worlds that agree with what Ollama did live on."""
    rng = random.Random(20260801)
    models = specs()
    particles = [_World(Scheduler(options, rng)) for _ in range(worlds)]
    answered_at = 0.0
    for step in steps:
        possible, good = set(), []
        for world in particles:
            issued_at = world.now + max(0.0, step.issued_at - answered_at)
            world.now = ask(world.scheduler, issued_at, step, models)
            wait = world.now - issued_at
            world.scheduler.end(world.now + ANSWER_SECONDS, step.index)
            mask = mask_of(world.scheduler, world.now + LOOK_SECONDS)
            world.now += LOOK_SECONDS
            possible.add((round(wait, 2), mask))
            if mask == step.residents_after and abs(wait - step.wait_seconds) <= 0.4 + 0.03 * step.wait_seconds:
                good.append(world)
        if not good:
            return Deviation(step, possible)
        copies = (rng.choice(good) for _ in range(worlds - len(good)))
        particles = good + [_World(world.scheduler.clone(), world.now) for world in copies]
        answered_at = step.issued_at + step.wait_seconds + LOOK_SECONDS
    return None
