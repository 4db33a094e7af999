"""Lemonade's score: what was idle for long, measured by how long it takes to load, leaves first. Learns nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.policy import Lru
from proxy.policy.lru import one_by_one

if TYPE_CHECKING:
    from proxy.policy import Memory, Need, Resident, Room


class Lemonade(Lru):
    """Evicts by eviction_score = idle_time / (load_duration · weight), the highest first, with weight 1.

    Source: lemonade-sdk/lemonade, docs/guide/configuration/multi-model.md, "Load-time-weighted scoring".
    """

    def make_room(self, memory: Memory, need: Need) -> Room:
        """Choose victims in the order of their scores."""
        return one_by_one(memory, need, _worth)


def _worth(resident: Resident) -> float:
    return -resident.idle_seconds / max(resident.load_seconds, 1e-3)
