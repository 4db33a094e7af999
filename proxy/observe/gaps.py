"""How far apart the requests for a model are: what its keep_alive is chosen by. Never decides anything itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Histogram

from proxy.observe.labels import OTHER, Children

if TYPE_CHECKING:
    from proxy.domain.timeline import FinishedRequest

_MINUTE, _HOUR = 60.0, 3600.0
_BUCKETS: Final = (
    *(1.0, 10.0, 30.0, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, 24 * _HOUR),
)


class Gaps:
    """The time from one request for a model to the next one for it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the histogram."""
        self._seconds = Children(
            Histogram(
                "keepwarm_gap_seconds",
                "From one request for a model to its next",
                ("model",),
                registry=registry,
                buckets=_BUCKETS,
            )
        )
        self._last_at: dict[str, float] = {}

    def used(self, model: str, request: FinishedRequest) -> None:
        """Count the gap before this request of the model with this label; those that share `other` have none."""
        if model == OTHER:
            return
        seconds, last_at = self._seconds(model), self._last_at.get(model)
        if last_at is not None:
            seconds.observe(max(0.0, request.at - last_at))
        self._last_at[model] = request.at
