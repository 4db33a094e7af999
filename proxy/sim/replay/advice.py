"""Which settings a workload calls for, each tried out in replays. Changes no file.

One setting after the other, each with what was found for those before: how many models, how much memory, at what price,
whether to load ahead of use, and what to pin. A setting is advised only if the replays show a difference that is worth
a change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Final, TypeVar

from proxy.domain.settings import ModelRule
from proxy.domain.units import exact_duration, format_bytes, format_duration
from proxy.sim.replay.comparison import Figures, Plan, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

OURS: Final = "adaptive"

_MAX_MODELS: Final = (4, 6, 8)
_PRICES: Final = (0.25, 0.05, 0.02, 0.005, 0.0)
_MEMORY_SHARES: Final = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_PINNED: Final = 3
_AS_GOOD: Final = 1.05  # so much waiting is still as good as the least
_WORTH_A_CHANGE: Final = 0.95  # of the waiting without it

Key = tuple[str, ...]
_Tryable = TypeVar("_Tryable")


@dataclass(frozen=True, slots=True)
class Advice:
    """One setting.

    Attributes:
        key: its path in the settings file.
        value: what to write there; None: leave it as it is.
        evidence: what the replays showed, for people.
    """

    key: Key
    value: str | int | bool | None
    evidence: str


STEPS: Final = 1 + len(_MAX_MODELS) + len(_MEMORY_SHARES) + len(_PRICES) + 2 + 1 + _PINNED
"""How many times at most `advise` says that something is done, for each seed."""


def advise(plan: Plan, seeds: Sequence[int], done: Callable[[], None] = lambda: None) -> list[Advice]:
    """Try settings out.

    Args:
        plan: the workload, the machine and the settings to begin with.
        seeds: of the workloads.
        done: called after each replay.
    """
    tried = _Tried(plan, seeds, done)
    return [tried.max_models(), tried.budget(), tried.price(), tried.warm_up(), tried.pin()]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of one way to set a setting, on average over the workloads."""

    wait_seconds: float
    gib_hours: float

    @classmethod
    def of(cls, figures: Sequence[Figures]) -> _Outcome:
        return cls(fmean(one.wait_seconds for one in figures), fmean(one.gib_hours for one in figures))

    def __str__(self) -> str:
        return f"{format_duration(self.wait_seconds)} waited, {self.gib_hours:.0f} GiB·h held"


class _Tried:
    """The plan as far as it is settled."""

    def __init__(self, plan: Plan, seeds: Sequence[int], done: Callable[[], None]) -> None:
        self._plan, self._seeds, self._done = plan, seeds, done
        self._models = len(plan.source.of(seeds[0]).models)

    def max_models(self) -> Advice:
        now = self._plan.machine.max_models
        counts = sorted({now, *(min(count, self._models) for count in _MAX_MODELS if min(count, self._models) > now)})
        plans = {count: self._with_max_models(count) for count in counts}
        found = self._measured(plans)
        best = next(count for count in counts if _as_good(found[count], found))
        self._plan = plans[best]
        return Advice(
            ("memory", "max_models"),
            best if best != now else None,
            _listed({f"{count} models": outcome for count, outcome in found.items()}),
        )

    def budget(self) -> Advice:
        total = self._plan.machine.gpu_bytes
        plans = {share: self._with(budget_bytes=round(total * share)) for share in _MEMORY_SHARES}
        found = self._measured(plans)
        best = next(share for share in _MEMORY_SHARES if _as_good(found[share], found))
        self._plan = plans[best]
        evidence = _listed({format_bytes(total * share): outcome for share, outcome in found.items()})
        value = f"{round(total * best / 2**20)}MiB" if best < 1 else None
        return Advice(("memory", "budget"), value, evidence)

    def price(self) -> Advice:
        now = self._plan.settings.price_seconds_per_gib_hour
        plans = {price: self._with(price_seconds_per_gib_hour=price) for price in _PRICES}
        found = self._measured(plans)
        best = next(price for price in _PRICES if _as_good(found[price], found))
        self._plan = plans[best]
        evidence = _listed({format_duration(price): outcome for price, outcome in found.items()})
        value = exact_duration(best) if best != now else None
        return Advice(("memory", "price"), value, evidence)

    def warm_up(self) -> Advice:
        now = self._plan.settings.warm_up
        plans = {on: self._with(warm_up=on) for on in (False, True)}
        found = self._measured(plans)
        pays = found[not now].wait_seconds < _WORTH_A_CHANGE * found[now].wait_seconds
        self._plan = plans[now ^ pays]
        evidence = _listed({"without": found[False], "with loads ahead of use": found[True]})
        return Advice(("warm_up",), not now if pays else None, evidence)

    def pin(self) -> Advice:
        workload = self._plan.source.of(self._seeds[0])
        uses = [0] * len(workload.models)
        for arrival in workload.arrivals:
            uses[arrival.model] += 1
        busiest = sorted(range(len(uses)), key=lambda model: -uses[model])[:_PINNED]
        names = [workload.models[model].name for model in busiest]
        plans = {"nothing": self._plan, **{name: self._with_pin(name) for name in names}}
        found = self._measured(plans)
        best = min(names, key=lambda name: found[name].wait_seconds)
        pays = found[best].wait_seconds < _WORTH_A_CHANGE * found["nothing"].wait_seconds
        evidence = _listed({f"{name} pinned": outcome for name, outcome in found.items()})
        return Advice(("models", best, "pin"), True if pays else None, evidence)

    def _with_max_models(self, count: int) -> Plan:
        return replace(self._plan, machine=replace(self._plan.machine, max_models=count))

    def _with(self, **values: float) -> Plan:
        return replace(self._plan, settings=replace(self._plan.settings, **values))  # type: ignore[arg-type]  # by name

    def _with_pin(self, name: str) -> Plan:
        settings = self._plan.settings
        rules = ((name, ModelRule(pin=True)), *settings.rules)
        return replace(self._plan, settings=replace(settings, rules=rules))

    def _measured(self, plans: Mapping[_Tryable, Plan]) -> dict[_Tryable, _Outcome]:
        runs = [(plan, OURS, seed) for plan in plans.values() for seed in self._seeds]
        figures = measure(runs, done=self._done)
        count = len(self._seeds)
        return {key: _Outcome.of(figures[number * count :][:count]) for number, key in enumerate(plans)}


def _as_good(one: _Outcome, all_of_them: Mapping[_Tryable, _Outcome]) -> bool:
    return one.wait_seconds <= _AS_GOOD * min(outcome.wait_seconds for outcome in all_of_them.values())


def _listed(found: Mapping[str, _Outcome]) -> str:
    return "; ".join(f"{what}: {outcome}" for what, outcome in found.items())
