"""The policy that learns: victims as a set of least cost, room made ahead of need, TTLs from the price of memory.

Never decides by itself: it puts together what `room`, `ahead` and `ttl` reckon.
"""

from collections.abc import Sequence

from proxy.policy.ahead import room_ahead
from proxy.policy.memory import Ahead, Memory, Need, Room, Soon, Wanted, WarmUp
from proxy.policy.room import make_room
from proxy.policy.ttl import Stay, Ttl, priced_ttl
from proxy.policy.warm import warm_up


class Adaptive:
    """The rule of POLICY.md, whole."""

    looks_ahead = True

    def make_room(self, memory: Memory, need: Need) -> Room:
        """Choose the set of victims of least cost."""
        return make_room(memory, need)

    def room_ahead(self, memory: Memory, wanted: Sequence[Wanted]) -> Ahead | None:
        """Choose the resident whose leaving now saves the most waiting."""
        return room_ahead(memory, wanted)

    def warm_up(self, memory: Memory, soon: Sequence[Soon]) -> WarmUp | None:
        """Choose the model whose load ahead of use saves the most waiting."""
        return warm_up(memory, soon)

    def ttl(self, stay: Stay) -> Ttl:
        """Keep the model until its memory is no longer worth its price."""
        return priced_ttl(stay)
