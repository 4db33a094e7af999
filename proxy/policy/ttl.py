"""How long a model stays without being asked for: the TTL at which its memory stops being worth its price.

Never asks who else wants the room: that is the business of making room.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import exp, expm1

from proxy.domain.units import GIB, format_bytes, format_duration
from proxy.policy.checks import check_number
from proxy.policy.day import ANY_TIME, pieces
from proxy.policy.hazard import EDGES

_HOUR_SECONDS = 3600.0
_MAX_RENT_IN_LOADS = 2.0


@dataclass(frozen=True, slots=True)
class Stay:
    """What decides how long a model may stay.

    Attributes:
        hazards: chance per second of a request in each idle-age bin.
        bytes: memory that it occupies.
        load_seconds: what loading it again takes.
        price: seconds of waiting that one GiB·hour of idle memory is worth; 0 keeps until someone needs the room.
        min_seconds: floor of the TTL.
        max_seconds: ceiling of the TTL, at least the floor.
        model: canonical name, for policies that remember more of it.
        began: when it is used, Unix seconds.
        day_factors: how many times as likely a request is in each part of the day.
    """

    hazards: tuple[float, ...]
    bytes: int
    load_seconds: float
    price: float
    min_seconds: float
    max_seconds: float
    model: str = ""
    began: float = 0.0
    day_factors: tuple[float, ...] = ANY_TIME

    def __post_init__(self) -> None:
        check_number("bytes", self.bytes, "bytes")
        check_number("load_seconds", self.load_seconds, "seconds")
        check_number("price", self.price, "seconds per GiB hour")
        check_number("min_seconds", self.min_seconds, "seconds")
        check_number("max_seconds", self.max_seconds, "seconds", at_least=self.min_seconds)
        if len(self.hazards) != len(EDGES):
            raise ValueError(f"hazards must be {len(EDGES)} numbers, got {len(self.hazards)}")

    @property
    def rent(self) -> float:
        """Seconds of waiting that each idle second of this model costs: λ · bytes."""
        return self.price * self.bytes / GIB / _HOUR_SECONDS

    def clamp(self, seconds: float) -> float:
        """The nearest TTL within the floor and the ceiling."""
        return min(self.max_seconds, max(self.min_seconds, seconds))


@dataclass(frozen=True, slots=True)
class Ttl:
    """How long to keep a model after its last request, finite seconds >= 0, and why: put into words when asked for."""

    seconds: float
    why: Callable[[], str]

    def __post_init__(self) -> None:
        check_number("ttl", self.seconds, "seconds")


def priced_ttl(stay: Stay) -> Ttl:
    """The T that minimises λ·bytes·E[min(X,T)] + load·P(X>T), at most 2·load/(λ·bytes), within floor and ceiling.

    X is the gap to the next request. While the hazard is constant, it either pays to stay on or it does not: the least
    cost lies where the hazard changes.
    """
    if stay.rent == 0:
        return Ttl(stay.max_seconds, lambda: f"kept {format_duration(stay.max_seconds)}: memory has no price")
    seconds = stay.clamp(_best(stay))
    return Ttl(seconds, partial(_reason, stay, seconds))


def _reason(stay: Stay, seconds: float) -> str:
    returns = 1.0 - exp(-sum(hazard * (high - low) for low, high, hazard in _hazards(stay, seconds)))
    bound = {stay.min_seconds: " (the minimum)", stay.max_seconds: " (the maximum)"}.get(seconds, "")
    return (
        f"kept {format_duration(seconds)}{bound}: asked for within that time {returns:.0%},"
        f" reload {format_duration(stay.load_seconds)}, {format_bytes(stay.bytes)},"
        f" price {format_duration(stay.price)} per GiB·h"
    )


def _best(stay: Stay) -> float:
    """The T of least cost up to the ceiling: where a hazard ends, or the ceiling itself."""
    rent, load_seconds = stay.rent, stay.load_seconds
    ceiling_seconds = min(stay.max_seconds, _MAX_RENT_IN_LOADS * load_seconds / rent)
    still_away, rent_seconds = 1.0, 0.0
    best_cost, best = load_seconds, 0.0
    for low, high, hazard in _hazards(stay, ceiling_seconds):
        asked = -expm1(-hazard * (high - low))
        rent_seconds += rent * still_away * (asked / hazard if hazard > 0 else high - low)
        still_away *= 1.0 - asked
        cost = rent_seconds + load_seconds * still_away
        if cost < best_cost:
            best_cost, best = cost, high
    return best


def _hazards(stay: Stay, end_seconds: float) -> list[tuple[float, float, float]]:
    """Idle ages between which the hazard is constant, and that hazard; for a week at most."""
    hazards, factors = stay.hazards, stay.day_factors
    return [
        (low, high, hazards[index] * (1.0 if part is None else factors[part]))
        for low, high, index, part in pieces(stay.began, min(end_seconds, EDGES[-1]))
    ]
