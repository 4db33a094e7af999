"""Clients that talk to Ollama itself. Decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.domain.events import Ending
    from proxy.sim.models import ModelSpec
    from proxy.sim.outcomes import Outcome
    from proxy.sim.scheduler import Scheduler


class DirectFront:
    """Hands every request on as it comes; answers to the same calls as `ManagedFront`."""

    def __init__(self, scheduler: Scheduler, specs: Sequence[ModelSpec]) -> None:
        self._scheduler = scheduler
        self._specs = specs

    def arrived(self, at: float, request: int, model: int) -> None:
        """A client asks."""
        self._scheduler.submit(at, request, self._specs[model])

    def ended(self, at: float, request: int, _: Ending) -> None:
        """A client has its answer, or has left."""
        self._scheduler.end(at, request)

    def granted(self, at: float, request: int) -> None:
        """Nobody but the client needs to know."""

    def called(self, outcome: Outcome) -> None:
        """Nobody else makes calls."""

    def stirred(self, at: float) -> None:
        """Nobody looks."""
