"""What the engine is told by the settings: plain values in seconds and bytes, and which rule holds for which model.

Never reads a file or the environment; `proxy.settings` does, and hands these over.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, fields
from enum import StrEnum
from fnmatch import translate
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from proxy.domain.model import canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

POLICIES: Final = ("adaptive", "fixed", "lru")
_CACHED_MODELS: Final = 1024
_WILDCARD: Final = re.compile(r"\[[^\]]*\]|[*?]")


class ClientKeepAlive(StrEnum):
    """What becomes of a keep_alive that the client itself sent: one setting, because ours is on the wire after all.

    IGNORE: ours wins. RESPECT: the client's wins. AT_LEAST: the longer wins. AT_MOST: the shorter wins.
    """

    IGNORE = "ignore"
    RESPECT = "respect"
    AT_LEAST = "at_least"
    AT_MOST = "at_most"


class NumCtx(StrEnum):
    """Which context length a native request runs with.

    AS_ASKED: the one that it asks for. UNIFY: one that serves all who asked lately, where that saves reloads.
    """

    AS_ASKED = "as_asked"
    UNIFY = "unify"


@dataclass(frozen=True, slots=True)
class ModelRule:
    """What the settings say about the models that a pattern matches; None: nothing, a more general rule decides.

    Attributes:
        pin: the model is never evicted and never expires.
        never_keep: the model is unloaded as soon as it is idle.
        min_seconds: shortest TTL, finite and >= 0.
        max_seconds: longest TTL, finite and >= 0.
        weight: factor on what the model's absence costs, finite and > 0.
        client_keep_alive: what becomes of the client's own keep_alive.
        num_ctx: which context length its native requests run with.
        warm_up: whether it may be loaded ahead of use.
    """

    pin: bool | None = None
    never_keep: bool | None = None
    min_seconds: float | None = None
    max_seconds: float | None = None
    weight: float | None = None
    client_keep_alive: ClientKeepAlive | None = None
    num_ctx: NumCtx | None = None
    warm_up: bool | None = None

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        for name in ("min_seconds", "max_seconds", "weight"):
            value = getattr(self, name)
            _require(value is None or (math.isfinite(value) and value >= 0), f"{name} must be finite and >= 0", value)
        _require(self.weight != 0, "weight must be > 0", self.weight)
        _require(not (self.pin and self.never_keep), "pin and never_keep must not both be true", self)
        if self.min_seconds is not None and self.max_seconds is not None:
            _require(
                self.min_seconds <= self.max_seconds, f"min_seconds must be <= {self.max_seconds}", self.min_seconds
            )


@dataclass(frozen=True, slots=True)
class EffectiveRule:
    """What holds for one model after all rules that match it.

    min_seconds <= max_seconds, and never both pin and never_keep.
    """

    pin: bool
    never_keep: bool
    min_seconds: float
    max_seconds: float
    weight: float
    client_keep_alive: ClientKeepAlive
    num_ctx: NumCtx
    warm_up: bool


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The settings that decisions depend on.

    Attributes:
        policy: one of POLICIES.
        budget_bytes: GPU memory for models; None: found out from the driver or learnt.
        reserve_bytes: memory left alone where the budget is found out, >= 0.
        max_models: most models resident at once, >= 1; None: 3 per GPU, as Ollama.
        price_seconds_per_gib_hour: seconds of waiting that one GiB·hour of idle memory is worth; 0: memory is given
            back only when someone needs it.
        settle_seconds: how long to wait after an unload where free memory cannot be read: the value to start with.
        poll_seconds: how often residents are observed, > 0.
        keep_alive_min_seconds: shortest TTL where no rule says another.
        keep_alive_max_seconds: longest TTL where no rule says another; the TTL itself for the policies fixed and lru.
        client_keep_alive: what becomes of the client's own keep_alive where no rule says another.
        max_wait_seconds: longest time that a cold model waits for busy ones, >= 0.
        rules: (pattern, rule) in the order of the file. A pattern is a glob on the canonical model name; `*` also
            covers '/' and ':', and a pattern without a tag matches every tag.
        client_weights: factor on what a client's waiting costs, by its name, finite and > 0; 1 for all others.
        num_ctx: which context length native requests run with where no rule says another.
        warm_up: whether models may be loaded ahead of use where no rule says otherwise.
    """

    policy: str
    budget_bytes: int | None
    reserve_bytes: int
    max_models: int | None
    price_seconds_per_gib_hour: float
    settle_seconds: float
    poll_seconds: float
    keep_alive_min_seconds: float
    keep_alive_max_seconds: float
    client_keep_alive: ClientKeepAlive
    max_wait_seconds: float
    rules: tuple[tuple[str, ModelRule], ...] = ()
    client_weights: Mapping[str, float] = field(default_factory=dict)
    num_ctx: NumCtx = NumCtx.AS_ASKED
    warm_up: bool = False
    _resolve: Callable[[str], EffectiveRule] = field(init=False, repr=False, compare=False)

    def __reduce__(self) -> tuple[type[EngineSettings], tuple[object, ...]]:
        """Go to another process as what it was made of: compiled patterns cannot."""
        return type(self), tuple(getattr(self, key.name) for key in fields(self) if key.init)

    def __post_init__(self) -> None:
        """Refuse values that no decision can be made with; compile the patterns."""
        _require(self.policy in POLICIES, f"policy must be one of {', '.join(POLICIES)}", self.policy)
        _require(
            self.budget_bytes is None or self.budget_bytes > 0, "budget_bytes must be None or > 0", self.budget_bytes
        )
        _require(self.reserve_bytes >= 0, "reserve_bytes must be >= 0", self.reserve_bytes)
        _require(self.max_models is None or self.max_models >= 1, "max_models must be None or >= 1", self.max_models)
        for name in ("price_seconds_per_gib_hour", "settle_seconds", "poll_seconds", "max_wait_seconds"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value >= 0, f"{name} must be finite and >= 0 seconds", value)
        _require(self.poll_seconds > 0, "poll_seconds must be > 0", self.poll_seconds)
        for weight in self.client_weights.values():
            _require(math.isfinite(weight) and weight > 0, "a client's weight must be finite and > 0", weight)
        object.__setattr__(self, "_resolve", self._resolver())

    def _resolver(self) -> Callable[[str], EffectiveRule]:
        by_specificity = sorted(self.rules, key=lambda rule: specificity(rule[0]), reverse=True)  # stable: file order
        compiled = [(re.compile(translate(with_tag(pattern))), rule) for pattern, rule in by_specificity]
        everyone = ModelRule(
            pin=False,
            never_keep=False,
            min_seconds=self.keep_alive_min_seconds,
            max_seconds=self.keep_alive_max_seconds,
            weight=1.0,
            client_keep_alive=self.client_keep_alive,
            num_ctx=self.num_ctx,
            warm_up=self.warm_up,
        )

        @lru_cache(maxsize=_CACHED_MODELS)
        def resolve(model: str) -> EffectiveRule:
            return _combine([*(rule for pattern, rule in compiled if pattern.match(model)), everyone])

        return resolve

    def rule_for(self, model: str) -> EffectiveRule:
        """Return what holds for this model (canonical name).

        Each key is taken from the most specific pattern that says it: first an exact name, then the pattern with the
        most characters that are no wildcards, then the one that stands first in the file. Where two rules contradict
        each other (`min` above `max`, `pin` with `never_keep`), the more specific one prevails.
        """
        return self._resolve(model)


def with_tag(pattern: str) -> str:
    """Return the one spelling of a pattern: as a model name's, but one without a tag matches every tag."""
    has_tag = ":" in pattern.rsplit("/", 1)[-1]
    return canonical(pattern if has_tag else f"{pattern}:*")


def specificity(pattern: str) -> tuple[bool, int]:
    """Return how specific a pattern is, to be compared: exact names first, then the number of literal characters."""
    literal = _WILDCARD.sub("", with_tag(pattern))
    return literal == with_tag(pattern), len(literal)


def _combine(rules: Iterable[ModelRule]) -> EffectiveRule:
    """Take each key from the first rule that says it; the most specific comes first, and the last says every key."""
    values: dict[str, Any] = {}
    ranks: dict[str, int] = {}
    for rank, rule in enumerate(rules):
        said = {key.name: getattr(rule, key.name) for key in fields(rule)}
        new = {name: value for name, value in said.items() if value is not None and name not in values}
        values.update(new)
        ranks.update(dict.fromkeys(new, rank))
    if values["min_seconds"] > values["max_seconds"]:
        bound = min(("min_seconds", "max_seconds"), key=ranks.__getitem__)
        values["min_seconds"] = values["max_seconds"] = values[bound]
    if values["pin"] and values["never_keep"]:
        values[max(("pin", "never_keep"), key=ranks.__getitem__)] = False
    return EffectiveRule(**values)


def _require(holds: bool, expectation: str, got: object) -> None:  # noqa: FBT001 - a condition is what it takes
    if not holds:
        raise ValueError(f"{expectation}, got {got}")
