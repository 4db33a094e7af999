"""The past of all models: what each one's use lets expect, and what is learnt from all of them together.

Never reads a clock: every time is Unix seconds given by the caller. Never holds more than a bounded number of models.
"""

from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from typing import Self

from proxy.policy.calibration import Calibration
from proxy.policy.checks import check_number
from proxy.policy.contexts import Asked
from proxy.policy.day import DayRhythm, tells_of_the_day
from proxy.policy.hazard import Ages, bin_of, chance
from proxy.policy.load_times import PRIOR, Line, LoadTimes
from proxy.policy.rhythm import chance_within, next_end
from proxy.policy.state import State, ages_from, ages_state, mapping, number, number_or_none
from proxy.policy.usage import Usage, averaged

STATE_VERSION = 1
MIN_HORIZON_SECONDS, START_HORIZON_SECONDS, MAX_HORIZON_SECONDS = 60.0, 600.0, 86400.0

_POOLED_DECAY = 0.999
_EVICTION_WEIGHT = 0.1


class UsageBook:
    """The past of all models and what they teach together; beyond `max_models` the longest unused is forgotten."""

    def __init__(self, max_models: int = 1000) -> None:
        check_number("max_models", max_models, "models", at_least=1)
        self._max_models = max_models
        self._usages: dict[str, Usage] = {}  # in the order of use, the longest unused first
        self._pooled = Ages.prior()
        self._day = DayRhythm()
        self._from_disk, self._from_page_cache = LoadTimes(), LoadTimes()
        self._last_eviction: float | None = None
        self._eviction_gap_seconds = self._stay_seconds = START_HORIZON_SECONDS
        self.returns = Calibration()

    def __repr__(self) -> str:
        return f"UsageBook({len(self._usages)} of {self._max_models} models, horizon {self.horizon_seconds:.0f} s)"

    def __contains__(self, model: object) -> bool:
        return model in self._usages

    @property
    def models(self) -> tuple[str, ...]:
        """All known models, the longest unused first."""
        return tuple(self._usages)

    @property
    def horizon_seconds(self) -> float:
        """H: how far to look ahead, as long as a model stays unless it is used; 60 s … 24 h, 600 s at the start."""
        return min(MAX_HORIZON_SECONDS, max(MIN_HORIZON_SECONDS, self._stay_seconds))

    @property
    def return_horizon_seconds(self) -> float:
        """When a victim is back too soon: before the next eviction, on average; 60 s … 24 h, 600 s at the start."""
        return min(MAX_HORIZON_SECONDS, max(MIN_HORIZON_SECONDS, self._eviction_gap_seconds))

    # What happened

    def arrived(self, model: str, at: float, client_weight: float = 1.0) -> None:
        """Count a request for the model, by a client whose waiting counts so much (> 0)."""
        usage = self._usages.pop(model, None)
        if usage is None:
            usage = Usage(first_arrival=at, last_arrival=at)
            usage.arrived(at, client_weight)
        else:
            idle_seconds = usage.idle_seconds(at)
            if tells_of_the_day(idle_seconds):  # few gaps do
                hazards = usage.ages.hazards_beside(self._pooled.hazards())
                self._day.add(usage.last_arrival, idle_seconds, hazards)
            self._pooled.add(usage.came_back(at, client_weight), _POOLED_DECAY)
        self._usages[model] = usage
        self._forget_longest_unused()

    def seen(self, model: str, at: float) -> None:
        """Take note of a model that others loaded: its idle age runs from now on, no request is counted."""
        self._usages.setdefault(model, Usage(first_arrival=at, last_arrival=at))
        self._forget_longest_unused()

    def evicted(self, at: float, residents: int = 1, victims: int = 1) -> None:
        """Count one decision to make room: who left, of how many. Expiry and room ahead do not count.

        A model stays for as many gaps between evictions as there are residents for each victim (Little's law).
        """
        if self._last_eviction is not None:
            gap_seconds = max(0.0, at - self._last_eviction)
            self._eviction_gap_seconds = averaged(self._eviction_gap_seconds, gap_seconds, _EVICTION_WEIGHT)
            stay_seconds = gap_seconds * residents / victims
            self._stay_seconds = averaged(self._stay_seconds, stay_seconds, _EVICTION_WEIGHT)
        self._last_eviction = at

    def loaded(self, model: str, seconds: float, *, file_bytes: int, page_cache_warm: bool) -> None:
        """Learn how long the load of a file of this size (0: not known) took, >= 0 seconds.

        Nothing is learnt of a model neither asked for nor seen.
        """
        check_number("seconds", seconds, "seconds")
        if usage := self._usages.get(model):
            usage.loaded(seconds, page_cache_warm=page_cache_warm)
            if file_bytes > 0:
                self._load_times(page_cache_warm=page_cache_warm).add(model, file_bytes, seconds)

    def served(self, model: str, seconds: float) -> None:
        """Learn how long a request was served (>= 0 seconds, the load not counted)."""
        check_number("seconds", seconds, "seconds")
        if usage := self._usages.get(model):
            usage.served(seconds)

    def asked_for_context(self, model: str, num_ctx: int | None, at: float) -> None:
        """Count a request that needs this context length, > 0 tokens; None: it can't ask for one. After `arrived`."""
        self._usages[model].contexts.add(num_ctx, at)

    # What is to be expected

    def contexts(self, model: str, now: float) -> Asked:
        """Context lengths that were asked for lately."""
        usage = self._usages.get(model)
        return usage.contexts.lately(now) if usage else Asked((), open_ended=False)

    def hazards(self, model: str) -> tuple[float, ...]:
        """Chance per second of a request in each idle-age bin; of all models pooled for one never seen."""
        usage = self._usages.get(model)
        return usage.ages.hazards_beside(self._pooled.hazards()) if usage else self._pooled.hazards()

    @property
    def day_factors(self) -> tuple[float, ...]:
        """How many times as likely as by idle age alone a request is in each part of the day."""
        return self._day.factors

    def hazard(self, model: str, idle_seconds: float) -> float:
        """Chance per second of a request now, after so long an idle time."""
        return self._hazard_in_bin(model)(bin_of(idle_seconds))

    def hazards_now(self, now: float) -> list[tuple[str, float]]:
        """Each known model, the longest unused first, and its chance per second of a request now."""
        pooled = self._pooled.hazards()
        return [
            (model, usage.ages.hazard_beside(pooled, bin_of(usage.idle_seconds(now))))
            for model, usage in self._usages.items()
        ]

    def probability(self, model: str, now: float, horizon_seconds: float) -> float:
        """P(m, H): chance of a request within the horizon, 0 … 1. A model never seen counts as just used."""
        return chance(self._hazard_in_bin(model), self.idle_seconds(model, now), horizon_seconds)

    def chance_soon(self, model: str, now: float, horizon_seconds: float) -> float:
        """P(a request within a short horizon), 0 … 1, by the model's own last gaps rather than by wide bins."""
        otherwise = self.probability(model, now, horizon_seconds)
        usage = self._usages.get(model)
        if usage is None:
            return otherwise
        return chance_within(usage.foretold.gaps, usage.idle_seconds(now), horizon_seconds, otherwise)

    def steady(self, model: str) -> bool:
        """Whether the model is asked for by a schedule."""
        usage = self._usages.get(model)
        return usage is not None and usage.foretold.steady

    def next_due(self, model: str, now: float) -> float:
        """When its rhythm makes the next request likely at the earliest, Unix seconds; infinity: at no time."""
        usage = self._usages.get(model)
        return usage.last_arrival + next_end(usage.foretold.gaps, usage.idle_seconds(now)) if usage else inf

    def client_weight(self, model: str) -> float:
        """How much the waiting of who asks next for the model is expected to count; 1 for a model never asked for."""
        usage = self._usages.get(model)
        return 1.0 if usage is None or usage.client_weight is None else usage.client_weight

    def load_seconds(self, model: str, *, file_bytes: int, page_cache_warm: bool) -> float:
        """Average load of that kind; of the other kind before there was one; by the size of its file before any."""
        own = self.own_load_seconds(model, page_cache_warm=page_cache_warm)
        return self._expected_seconds(file_bytes, page_cache_warm=page_cache_warm) if own is None else own

    def own_load_seconds(self, model: str, *, page_cache_warm: bool) -> float | None:
        """The same by the model's own loads alone; None: it was never loaded."""
        usage = self._usages.get(model)
        return usage.load_seconds(page_cache_warm=page_cache_warm) if usage else None

    def load_line(self, *, page_cache_warm: bool) -> Line | None:
        """Constant and speed that the loads of all models of that kind show; None: there was none."""
        times = self._load_times(page_cache_warm=page_cache_warm)
        return times.line if times else None

    def _expected_seconds(self, file_bytes: int, *, page_cache_warm: bool) -> float:
        """By the loads of other models; the disk is never faster than the page cache."""
        own = self.load_line(page_cache_warm=page_cache_warm)
        if own is not None:
            return own.seconds(file_bytes)
        other = self.load_line(page_cache_warm=not page_cache_warm) or PRIOR
        the_likelier = min if page_cache_warm else max
        return the_likelier(PRIOR.seconds(file_bytes), other.seconds(file_bytes))

    def _load_times(self, *, page_cache_warm: bool) -> LoadTimes:
        return self._from_page_cache if page_cache_warm else self._from_disk

    def service_seconds(self, model: str, prior_seconds: float) -> float:
        """Average time to serve a request; the prior before there was any."""
        usage = self._usages.get(model)
        return prior_seconds if usage is None or usage.service_seconds is None else usage.service_seconds

    def idle_seconds(self, model: str, now: float) -> float:
        """Seconds since the last arrival; 0 for a model never seen."""
        usage = self._usages.get(model)
        return usage.idle_seconds(now) if usage else 0.0

    def last_used_at(self, model: str) -> float:
        """Unix seconds of the last arrival; 0 for a model never seen."""
        usage = self._usages.get(model)
        return usage.last_arrival if usage else 0.0

    def rate_per_hour(self, model: str, now: float) -> float:
        """Requests per hour, over about the last day; 0 for a model never seen."""
        usage = self._usages.get(model)
        return usage.rate_per_hour(now) if usage else 0.0

    # Over restarts

    def to_state(self) -> State:
        """Everything learnt, as plain values for JSON; times are Unix seconds."""
        return {
            "version": STATE_VERSION,
            "pooled": ages_state(self._pooled),
            "day": self._day.to_state(),
            "last_eviction": self._last_eviction,
            "eviction_gap_seconds": self._eviction_gap_seconds,
            "stay_seconds": self._stay_seconds,
            "return_error": self.returns.error,
            "loads_from_disk": self._from_disk.to_state(),
            "loads_from_page_cache": self._from_page_cache.to_state(),
            "models": {model: usage.to_state() for model, usage in self._usages.items()},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, object], max_models: int = 1000) -> Self:
        """Read what `to_state` wrote.

        Raises:
            ValueError: another version, or not a state at all; says what was expected and what came.
        """
        if state.get("version") != STATE_VERSION:
            raise ValueError(f"version must be {STATE_VERSION}, got {state.get('version')!r}")
        book = cls(max_models)
        book._pooled = ages_from(state, "pooled")
        if "day" in state:  # earlier versions did not learn it
            book._day = DayRhythm.from_state(mapping(state, "day"))
        book._last_eviction = number_or_none(state, "last_eviction")
        book._eviction_gap_seconds = book._stay_seconds = number(state, "eviction_gap_seconds")
        if "stay_seconds" in state:  # earlier versions did not learn it
            book._stay_seconds = number(state, "stay_seconds")
        if "return_error" in state:  # nor this
            book.returns = Calibration(number(state, "return_error"))
        if "loads_from_disk" in state:  # earlier versions did not learn them
            book._from_disk = LoadTimes.from_state(mapping(state, "loads_from_disk"))
            book._from_page_cache = LoadTimes.from_state(mapping(state, "loads_from_page_cache"))
        models = mapping(state, "models")
        book._usages = {model: Usage.from_state(mapping(models, model)) for model in models}
        book._forget_longest_unused()
        return book

    def _hazard_in_bin(self, model: str) -> Callable[[int], float]:
        """Reckon single bins, because few decisions need them all."""
        usage = self._usages.get(model)
        pooled = self._pooled.hazards()
        return partial(usage.ages.hazard_beside, pooled) if usage else pooled.__getitem__

    def _forget_longest_unused(self) -> None:
        while len(self._usages) > self._max_models:
            del self._usages[next(iter(self._usages))]
