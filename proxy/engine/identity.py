"""Which names are one model to Ollama: those with the same weights file (OLLAMA.md 20). Decides nothing else."""

from __future__ import annotations

from collections import OrderedDict

_MAX_NAMES = 4000


class Identities:
    """Maps every name to one key, the first name that was seen with its weights."""

    def __init__(self) -> None:
        self._key_of_weights: OrderedDict[str, str] = OrderedDict()

    def key(self, name: str, weights: str) -> str:
        """Return the key of a canonical name; without weights the name stands for itself."""
        if not weights:
            return name
        key = self._key_of_weights.setdefault(weights, name)
        self._key_of_weights.move_to_end(weights)
        if len(self._key_of_weights) > _MAX_NAMES:
            self._key_of_weights.popitem(last=False)
        return key
