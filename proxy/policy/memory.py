"""The values that policies decide from and decide on: residents, memory, needs, and the decisions themselves.

Never knows how any of them was measured, and never changes one.
"""

from dataclasses import dataclass
from typing import NamedTuple

from proxy.policy.checks import check_number


@dataclass(frozen=True, slots=True)
class Resident:
    """One model that is loaded, as seen at the moment of deciding.

    Attributes:
        model: canonical name.
        bytes: GPU memory that it occupies.
        believed_bytes: what Ollama believes to be free when it asks this resident: free before its load less `bytes`,
            reckoned from the GPU's total where that is known (OLLAMA.md 16). None: not known, because others loaded it
            or the load came too early; then Ollama is taken to see nothing free.
        loss_seconds: expected seconds of waiting if it leaves now (load seconds, chance of use, weight).
        return_probability: chance that it is wanted again within the horizon, 0 … 1.
        load_seconds: what loading it again takes.
        idle_seconds: since its last arrival.
        remaining_seconds: expected rest of the requests that it serves; 0 when idle.
        pinned: exempt from eviction.
        last_used_at: time of its last arrival, Unix seconds; breaks ties.
    """

    model: str
    bytes: int
    believed_bytes: int | None
    loss_seconds: float
    return_probability: float
    load_seconds: float
    idle_seconds: float
    remaining_seconds: float = 0.0
    pinned: bool = False
    last_used_at: float = 0.0

    def __post_init__(self) -> None:
        check_number("bytes", self.bytes, "bytes")
        check_number("loss_seconds", self.loss_seconds, "seconds")
        check_number("return_probability", self.return_probability, "(a chance)", at_most=1.0)
        check_number("load_seconds", self.load_seconds, "seconds")
        check_number("idle_seconds", self.idle_seconds, "seconds")
        check_number("remaining_seconds", self.remaining_seconds, "seconds")
        if self.believed_bytes is not None:
            check_number("believed_bytes", self.believed_bytes, "bytes")

    @property
    def busy(self) -> bool:
        """Whether it serves a request now."""
        return self.remaining_seconds > 0


@dataclass(frozen=True, slots=True)
class Memory:
    """The GPU memory of one upstream and who is in it.

    Attributes:
        budget_bytes: what the proxy may fill, at most the GPU's total. None: not known, only `max_models` binds.
        max_models: how many models may be loaded at once, at least 1.
        settle_seconds: pause between seeing victims gone and the load.
        residents: in any order; no decision depends on it.
        return_bias: to be added to the chance that a model that leaves ahead of need is the next to be loaded, 0 … 1.
    """

    budget_bytes: int | None
    max_models: int
    settle_seconds: float
    residents: tuple[Resident, ...]
    return_bias: float = 0.0

    def __post_init__(self) -> None:
        check_number("max_models", self.max_models, "models", at_least=1)
        check_number("settle_seconds", self.settle_seconds, "seconds")
        check_number("return_bias", self.return_bias, "(a chance)", at_most=1.0)
        if self.budget_bytes is not None:
            check_number("budget_bytes", self.budget_bytes, "bytes")


@dataclass(frozen=True, slots=True)
class Need:
    """A model that has to be loaded, not among the residents, and the bytes Ollama predicts for it."""

    model: str
    bytes: int

    def __post_init__(self) -> None:
        check_number("bytes", self.bytes, "bytes")


class Wanted(NamedTuple):
    """A known model, resident or not, and its chance per second of being asked for now (`hazard`).

    Not checked: one is made of each known model at each look ahead.
    """

    model: str
    bytes: int
    hazard: float


@dataclass(frozen=True, slots=True)
class Soon:
    """A known model, resident or not, and its chance (0 … 1) of being asked for within the horizon of warm-ups.

    `load_seconds` is what loading it takes, `weight` how much worse than for others it is to wait for it, `may_load`
    says whether it may be loaded ahead of use, and `steady` whether the chance follows from a schedule of its own.
    """

    model: str
    bytes: int
    load_seconds: float
    chance: float
    weight: float
    may_load: bool
    steady: bool = False

    def __post_init__(self) -> None:
        check_number("bytes", self.bytes, "bytes")
        check_number("load_seconds", self.load_seconds, "seconds")
        check_number("chance", self.chance, "(a chance)", at_most=1.0)


@dataclass(frozen=True, slots=True)
class Room:
    """How to make room for a model.

    Attributes:
        victims: in the order of unloading; empty when nobody has to leave.
        cost_seconds: expected seconds of waiting that this plan costs, all told; a risk to a pinned model counts as
            a million seconds times its chance. 0 from policies that do not price.
        idle: whether all victims are idle; if not, they run out of requests first.
        fits: False: only pinned models could make room, nobody leaves.
        reason: plain English with numbers.
    """

    victims: tuple[str, ...]
    cost_seconds: float
    idle: bool
    fits: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Ahead:
    """A resident to unload in idle time, and the expected seconds of waiting that this saves.

    `return_chance` is the chance, by the hazards alone, that it is the next model to be loaded.
    """

    victim: str
    gain_seconds: float
    return_chance: float
    reason: str


@dataclass(frozen=True, slots=True)
class WarmUp:
    """A model to load ahead of use, who leaves for it, and the expected seconds of waiting that this saves."""

    model: str
    victims: tuple[str, ...]
    gain_seconds: float
    reason: str
