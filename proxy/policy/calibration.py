"""Holds a forecast to what came of it: how much more often models that left ahead of need are the next to be loaded.

The hazards of a model unused for hours rest on few gaps of its own. Where it left for another's sake they are easily
wrong by a factor of a hundred, and nothing else shows it (docs/decisions.md, "Room ahead is held to what came of it").
"""

from collections import deque

START_BIAS = 0.25
"""Assumed at first: room is made ahead only where much is to be gained, until some of it proved right."""

_WEIGHT = 0.05
_MAX_PENDING = 16


class Calibration:
    """Forecasts that wait for their outcome, and the average error of those that had one.

    Attributes:
        error: average of outcome less forecast, -1 … 1.
    """

    def __init__(self, error: float = START_BIAS) -> None:
        self.error = error
        self._pending: deque[tuple[str, float]] = deque(maxlen=_MAX_PENDING)

    @property
    def bias(self) -> float:
        """What to add to the next forecast, 0 … 1; nothing is taken away: caution costs less than a model missed."""
        return max(0.0, self.error)

    def left(self, model: str, chance: float) -> None:
        """A model left, with this chance (0 … 1, as forecast) of being the next that is loaded."""
        self._pending.append((model, chance))

    def loads(self, model: str) -> None:
        """A model is loaded: that tells of all who left since the load before."""
        for gone, chance in self._pending:
            self.error += _WEIGHT * ((gone == model) - chance - self.error)
        self._pending.clear()
