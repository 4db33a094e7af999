"""Greedy-Dual-Size-Frequency as FaaSCache keeps containers warm. Never forgets how often a model was used."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from proxy.policy import Lru
from proxy.policy.lru import one_by_one

if TYPE_CHECKING:
    from proxy.policy import Memory, Need, Resident, Room


class Gdsf(Lru):
    """Evicts by priority = clock + frequency · cost / size, the lowest first; the clock is the last victim's priority.

    A model's priority is set anew, with the clock of that moment, whenever it is used or loaded; cost is its load time.
    Source: Fuerst and Sharma, "FaasCache: Keeping Serverless Computing Alive with Greedy-Dual Caching", ASPLOS 2021,
    section 4.2.
    """

    def __init__(self) -> None:
        self._clock = 0.0
        self._frequency: Counter[str] = Counter()
        self._used_at: defaultdict[str, float] = defaultdict(float)

    def asked(self, model: str, at: float) -> None:  # noqa: ARG002 - what every watch is told
        """Count a request."""
        self._frequency[model] += 1
        self._used_at[model] = self._clock

    def make_room(self, memory: Memory, need: Need) -> Room:
        """Choose victims in the order of their priorities, and put the clock forward."""
        room = one_by_one(memory, need, self._priority)
        gone = [self._priority(resident) for resident in memory.residents if resident.model in room.victims]
        self._clock = max([self._clock, *gone])
        self._used_at[need.model] = self._clock
        return room

    def _priority(self, resident: Resident) -> float:
        value = self._frequency[resident.model] * resident.load_seconds / max(resident.bytes, 1)
        return self._used_at[resident.model] + value
