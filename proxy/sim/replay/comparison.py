"""Replays the same workloads with several contenders and sums up how they fared. Prints nothing and decides nothing."""

from __future__ import annotations

import os
import random
from collections.abc import Hashable
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import product, starmap
from statistics import fmean, quantiles
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from proxy.sim.replay.contenders import REFERENCE, enter
from proxy.sim.replay.optimum import Capacity, least_load_seconds
from proxy.sim.replay.simulator import simulate
from proxy.sim.replay.waiting_bound import least_wait_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from proxy.domain.settings import EngineSettings
    from proxy.sim.replay.contender import MachineSpec
    from proxy.sim.replay.result import Result
    from proxy.sim.replay.workload import Workload

_RESAMPLES: Final = 2000
_PERCENT: Final = 100
_Thing = TypeVar("_Thing")


class _Do(Protocol):
    """Calls a function with each of many arguments; what it returns comes in their order, as soon as it is there."""

    def __call__(self, function: Callable[..., _Thing], arguments: Sequence[tuple[Any, ...]], /) -> Iterable[_Thing]:
        """Call it."""
        ...


class Source(Hashable, Protocol):
    """Where workloads come from; to be hashed and sent to other processes."""

    def of(self, seed: int) -> Workload:
        """Make the workload of this seed, always the same."""
        ...


@dataclass(frozen=True)
class Plan:
    """What all contenders have in common.

    Attributes:
        source: of the workloads, one for each seed.
        machine: what they run on.
        settings: of keepwarm, for contenders that it manages.
        overlapping: whether requests come at their times or one after another.
    """

    source: Source
    machine: MachineSpec
    settings: EngineSettings
    overlapping: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """How one contender fared with one workload; seconds and GiB hours."""

    requests: int
    loads: float
    load_seconds: float
    wait_seconds: float
    mean_wait: float
    p95_wait: float
    p99_wait: float
    gib_hours: float
    spills: float
    errors: float

    @classmethod
    def of(cls, result: Result) -> Figures:
        """Sum up a replay."""
        waits = result.waits
        cuts = quantiles(waits, n=_PERCENT, method="inclusive") if len(waits) > 1 else list(waits) * _PERCENT
        return cls(
            requests=result.requests,
            loads=result.loads,
            load_seconds=result.load_seconds,
            wait_seconds=result.wait_seconds,
            mean_wait=fmean(waits),
            p95_wait=cuts[94],
            p99_wait=cuts[98],
            gib_hours=result.gib_hours,
            spills=result.spills,
            errors=result.errors,
        )


@dataclass(frozen=True, slots=True)
class Bounds:
    """What nobody can beat with one workload, as long as requests come one after another.

    Attributes:
        load_seconds: for policies that load a model when it is asked for; their waiting is at least this, too.
        ahead_load_seconds: for policies that load ahead of use.
        ahead_wait_seconds: the waiting with those.
    """

    load_seconds: float
    ahead_load_seconds: float
    ahead_wait_seconds: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over workloads with its 95 % confidence interval, of no width where there is one workload only."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """Estimate by bootstrap: means of as many values drawn with replacement, 2,000 times."""
        mean = fmean(values)
        if len(values) == 1:
            return cls(mean, mean, mean)
        dice = random.Random(len(values))  # noqa: S311 - statistics, not a secret
        means = [fmean(dice.choices(values, k=len(values))) for _ in range(_RESAMPLES)]
        cuts = quantiles(means, n=2 * _PERCENT // 5)  # the outermost of 39 cuts leave 2.5 % on each side
        return cls(mean, cuts[0], cuts[-1])


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everybody's figures, workload by workload.

    Attributes:
        seeds: of the workloads.
        figures: for each contender, one for each seed.
        bounds: one for each seed; none where requests overlap.
    """

    seeds: tuple[int, ...]
    figures: Mapping[str, Sequence[Figures]]
    bounds: Sequence[Bounds]

    def mean(self, name: str, figure: str) -> Estimate:
        """A figure of a contender."""
        return Estimate.of([getattr(figures, figure) for figures in self.figures[name]])

    def relative(self, name: str, figure: str = "wait_seconds") -> Estimate:
        """A figure of a contender as a ratio to the reference's with the same workload."""
        pairs = zip(self.figures[name], self.figures[REFERENCE], strict=True)
        return Estimate.of([_ratio(getattr(one, figure), getattr(reference, figure)) for one, reference in pairs])

    def to_bound(self, name: str) -> Estimate:
        """The waiting of a contender as a ratio to the bound for policies that load on demand."""
        pairs = zip(self.figures[name], self.bounds, strict=True)
        return Estimate.of([_ratio(figures.wait_seconds, bound.load_seconds) for figures, bound in pairs])

    def bound(self, bound: str, figure: str = "wait_seconds") -> Estimate:
        """A bound as a ratio to a figure of the reference."""
        pairs = zip(self.bounds, self.figures[REFERENCE], strict=True)
        return Estimate.of([_ratio(getattr(bounds, bound), getattr(reference, figure)) for bounds, reference in pairs])


def compare(
    plan: Plan,
    names: Iterable[str],
    seeds: Iterable[int],
    *,
    jobs: int = 0,
    done: Callable[[], None] = lambda: None,
) -> Comparison:
    """Replay every workload with every contender, the reference among them whether named or not.

    Args:
        plan: what they have in common.
        names: of contenders, as in CONTENDERS.
        seeds: of workloads; also of what Ollama leaves to chance.
        jobs: how many processes at a time; 0: as many as there are cores.
        done: called after each replay, `steps` times.
    """
    contenders, chosen = tuple(dict.fromkeys((REFERENCE, *names))), tuple(seeds)
    runs = [(plan, name, seed) for seed, name in product(chosen, contenders)]
    bounded = [] if plan.overlapping else [(plan, seed) for seed in chosen]
    with _workers(jobs, len(runs) + len(bounded)) as do:
        measured, bounds = do(_measured, runs), do(_bounds, bounded)
        figures = list(_counted(measured, done))
        found = list(_counted(bounds, done))
    by_name = {name: figures[number :: len(contenders)] for number, name in enumerate(contenders)}
    return Comparison(chosen, by_name, found)


def measure(
    runs: Sequence[tuple[Plan, str, int]], *, jobs: int = 0, done: Callable[[], None] = lambda: None
) -> list[Figures]:
    """Replay (plan, contender, seed) each, in as many processes at a time; `done` is called after each."""
    with _workers(jobs, len(runs)) as do:
        return list(_counted(do(_measured, runs), done))


def steps(names: Iterable[str], seeds: Sequence[int]) -> int:
    """How many times `compare` says that something is done, at most."""
    return len(seeds) * (len({REFERENCE, *names}) + 1)


@contextmanager
def _workers(jobs: int, tasks: int) -> Iterator[_Do]:
    """Give what calls a function with each of many arguments, in this process if one is enough."""
    processes = min(jobs or os.cpu_count() or 1, tasks)
    if processes <= 1:
        yield starmap
        return
    with ProcessPoolExecutor(processes) as pool:
        yield lambda function, arguments: pool.map(function, *zip(*arguments, strict=True)) if arguments else ()


def _measured(plan: Plan, name: str, seed: int) -> Figures:
    workload = _workload(plan.source, seed)
    contender = enter(name, plan.settings, plan.machine, workload)
    return Figures.of(simulate(workload, plan.machine, contender, seed=seed, overlapping=plan.overlapping))


def _bounds(plan: Plan, seed: int) -> Bounds:
    workload = _workload(plan.source, seed)
    capacity = Capacity(plan.machine.gpu_bytes, plan.machine.max_models)
    return Bounds(
        load_seconds=least_load_seconds(workload, capacity),
        ahead_load_seconds=least_load_seconds(workload, capacity, ahead=True),
        ahead_wait_seconds=least_wait_seconds(workload, capacity),
    )


@lru_cache(maxsize=4)
def _workload(source: Source, seed: int) -> Workload:
    return source.of(seed)


def _counted(things: Iterable[_Thing], done: Callable[[], None]) -> Iterator[_Thing]:
    """The things one by one; when the next is asked for, one more is done."""
    for thing in things:
        yield thing
        done()


def _ratio(value: float, base: float) -> float:
    """Nothing is as much as nothing."""
    return value / base if base else (1.0 if not value else float("inf"))
