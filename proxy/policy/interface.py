"""What every policy decides. Never implements any of it."""

from collections.abc import Sequence
from typing import Protocol

from proxy.policy.memory import Ahead, Memory, Need, Room, Soon, Wanted, WarmUp
from proxy.policy.ttl import Stay, Ttl


class Policy(Protocol):
    """Pure decisions: the same values in, the same decision out, in whatever order the residents come."""

    @property
    def looks_ahead(self) -> bool:
        """Whether `room_ahead` ever chooses anyone; where not, it need not be asked."""
        ...

    def make_room(self, memory: Memory, need: Need) -> Room:
        """Choose who leaves so that the needed model can be loaded; never a pinned one."""
        ...

    def room_ahead(self, memory: Memory, wanted: Sequence[Wanted]) -> Ahead | None:
        """Choose a resident to unload in idle time, before anyone needs the room; None if none should go."""
        ...

    def warm_up(self, memory: Memory, soon: Sequence[Soon]) -> WarmUp | None:
        """Choose a model to load in idle time, before anyone asks for it; None if none should be."""
        ...

    def ttl(self, stay: Stay) -> Ttl:
        """Choose how long a model stays after its last request, within the floor and the ceiling."""
        ...
