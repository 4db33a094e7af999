"""How long a model stays without being asked for: the TTL at which its memory stops being worth its price.

Never asks who else wants the room: that is the business of making room.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import exp, inf

from proxy.domain.units import GIB, format_bytes, format_duration
from proxy.policy.checks import check_number
from proxy.policy.hazard import EDGES, chance

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
    """

    hazards: tuple[float, ...]
    bytes: int
    load_seconds: float
    price: float
    min_seconds: float
    max_seconds: float
    model: str = ""

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
    """How long to keep a model after its last request, finite seconds >= 0, and why."""

    seconds: float
    reason: str

    def __post_init__(self) -> None:
        check_number("ttl", self.seconds, "seconds")


def priced_ttl(stay: Stay) -> Ttl:
    """The T that minimises λ·bytes·E[min(X,T)] + load·P(X>T), at most 2·load/(λ·bytes), within floor and ceiling.

    X is the gap to the next request. With a constant hazard in each bin the least cost lies at a bin's edge.
    """
    if stay.rent == 0:
        return Ttl(stay.max_seconds, f"kept {format_duration(stay.max_seconds)}: memory has no price")
    worth_seconds = min(_best_edge(stay), _MAX_RENT_IN_LOADS * stay.load_seconds / stay.rent)
    seconds = stay.clamp(worth_seconds)
    returns = chance(stay.hazards.__getitem__, 0.0, seconds)
    bound = {stay.min_seconds: " (the minimum)", stay.max_seconds: " (the maximum)"}.get(seconds, "")
    return Ttl(
        seconds,
        f"kept {format_duration(seconds)}{bound}: asked for within that time {returns:.0%},"
        f" reload {format_duration(stay.load_seconds)}, {format_bytes(stay.bytes)},"
        f" price {format_duration(stay.price)} per GiB·h",
    )


def _best_edge(stay: Stay) -> float:
    """The bin edge of least cost, seconds; the last edge bounds it at a week."""
    still_away, rent_seconds = 1.0, 0.0
    best_cost, best = inf, 0.0
    for index, (low, high) in enumerate(pairwise(EDGES)):
        cost = rent_seconds + stay.load_seconds * still_away
        if cost < best_cost:
            best_cost, best = cost, low
        hazard, width = stay.hazards[index], high - low
        away_after = still_away * exp(-hazard * width)
        rent_seconds += stay.rent * ((still_away - away_after) / hazard if hazard > 0 else still_away * width)
        still_away = away_after
    return EDGES[-1] if rent_seconds + stay.load_seconds * still_away < best_cost else best
