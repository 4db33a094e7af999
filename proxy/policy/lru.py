"""The policy that everyone knows: the least recently used leaves first, one at a time; all stay for the maximum.

Never prices anything and never makes room ahead.
"""

from collections.abc import Callable, Sequence
from operator import attrgetter

from proxy.domain.units import format_duration
from proxy.policy.belief import Belief
from proxy.policy.memory import Ahead, Memory, Need, Resident, Room, Soon, Wanted, WarmUp
from proxy.policy.reasons import leaving, no_room
from proxy.policy.ttl import Stay, Ttl


def one_by_one(memory: Memory, need: Need, worth: Callable[[Resident], float]) -> Room:
    """Let the resident of least worth leave, then the next, until the plain rule lets the model in.

    Busy ones leave last; of equal worth, in the order of their names.
    """
    belief = Belief(memory)
    movable = [i for i, resident in enumerate(belief.residents) if not resident.pinned]
    movable.sort(key=lambda i: (belief.residents[i].busy, worth(belief.residents[i]), belief.residents[i].model))
    stays, victims = belief.everyone, []
    for i in movable:
        if belief.allows(stays, need.bytes):
            break
        stays ^= 1 << i
        victims.append(belief.residents[i])
    if not belief.allows(stays, need.bytes):
        return Room(victims=(), cost_seconds=0.0, idle=True, fits=False, reason=no_room(memory, need))
    return Room(
        victims=tuple(victim.model for victim in victims),
        cost_seconds=0.0,
        idle=not any(victim.busy for victim in victims),
        fits=True,
        reason=leaving(memory, need, victims),
    )


class Lru:
    """Least recently used first; busy models after all idle ones."""

    looks_ahead = False

    def make_room(self, memory: Memory, need: Need) -> Room:
        """Choose victims in the order of last use until the plain rule lets the model in."""
        return one_by_one(memory, need, attrgetter("last_used_at"))

    def room_ahead(self, memory: Memory, wanted: Sequence[Wanted]) -> Ahead | None:  # noqa: ARG002 - Policy's signature
        """Make no room ahead."""
        return None

    def warm_up(self, memory: Memory, soon: Sequence[Soon]) -> WarmUp | None:  # noqa: ARG002 - Policy's signature
        """Load nothing ahead of use."""
        return None

    def ttl(self, stay: Stay) -> Ttl:
        """Keep every model for the maximum."""
        return Ttl(stay.max_seconds, lambda: f"kept {format_duration(stay.max_seconds)}: the maximum, as every model")
