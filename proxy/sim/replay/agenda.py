"""Virtual time outside the simulated Ollama: what is to be done when. Decides nothing."""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Subject = TypeVar("_Subject")


class Agenda:
    """What is still to be done, in the order of time; at the same time, in the order of planning."""

    __slots__ = ("_count", "_entries")

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Callable[[float, Any], None], Any]] = []
        self._count = 0

    def at(self, at: float, action: Callable[[float, _Subject], None], subject: _Subject) -> None:
        """Plan `action(at, subject)`."""
        self._count += 1
        heappush(self._entries, (at, self._count, action, subject))

    def next_at(self) -> float:
        """Return when the next action is due; infinity: nothing is planned."""
        return self._entries[0][0] if self._entries else inf

    def do_next(self) -> None:
        """Do what is due next."""
        at, _, action, subject = heappop(self._entries)
        action(at, subject)
