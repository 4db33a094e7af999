"""ollama-herd's score for preloading, as a rank: what it would preload first leaves last. Loads nothing itself."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING

from proxy.policy import Lru
from proxy.policy.lru import one_by_one

if TYPE_CHECKING:
    from proxy.policy import Memory, Need, Resident, Room

_DAY_SECONDS, _WEEK_DAYS = 86400.0, 7


class Herd(Lru):
    """Evicts by priority = 3 · requests of the last 24 hours + requests of the last 7 days / 7, the lowest first.

    ollama-herd fills Ollama's three places with the models of highest priority when it starts, and every ten minutes
    with those that were used within the hour. A policy of keepwarm loads nothing by itself; here the score decides who
    leaves. Source: geeks-accelerator/ollama-herd, server/trace_store.py, `get_model_priority_scores`.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._day: defaultdict[str, deque[float]] = defaultdict(deque)
        self._week: defaultdict[str, deque[float]] = defaultdict(deque)

    def asked(self, model: str, at: float) -> None:
        """Count a request."""
        self._now = at
        self._day[model].append(at)
        self._week[model].append(at)

    def make_room(self, memory: Memory, need: Need) -> Room:
        """Choose victims in the order of their scores."""
        return one_by_one(memory, need, self._priority)

    def _priority(self, resident: Resident) -> float:
        day = self._since(self._day[resident.model], _DAY_SECONDS)
        week = self._since(self._week[resident.model], _WEEK_DAYS * _DAY_SECONDS)
        return 3 * day + week / _WEEK_DAYS

    def _since(self, times: deque[float], seconds: float) -> int:
        while times and times[0] < self._now - seconds:
            times.popleft()
        return len(times)
