"""How far apart the requests for a model are: what its keep_alive is chosen by. Never decides anything itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.observe.labels import OTHER

if TYPE_CHECKING:
    from proxy.observe.histogram import Bars
    from proxy.observe.labels import Children


class Gaps:
    """The time from one request for a model to the next one for it."""

    def __init__(self, seconds: Children[Bars]) -> None:
        """`seconds`: where they are counted, by the label of the model."""
        self._seconds = seconds
        self._last_at: dict[str, float] = {}

    def used(self, model: str, at: float) -> None:
        """Count the gap before a request that came at this time, unix seconds; those that share `other` have none."""
        if model == OTHER:
            return
        last_at = self._last_at.get(model)
        if last_at is not None:
            self._seconds(model).observe(max(0.0, at - last_at))
        self._last_at[model] = at
