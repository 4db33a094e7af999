"""Which names are one model to Ollama: those with the same weights file (OLLAMA.md 20). Decides nothing else."""

from __future__ import annotations

from collections import OrderedDict

_MAX_NAMES = 4000


class Identities:
    """Maps every name to one key, the first name that was seen with its weights."""

    def __init__(self) -> None:
        self._key_of_weights: OrderedDict[str, str] = OrderedDict()
        self._key_of_name: OrderedDict[str, str] = OrderedDict()

    def key(self, name: str, weights: str) -> str:
        """Return the key of a canonical name; without weights what it was before, else the name itself."""
        if not weights:
            return self._key_of_name.get(name, name)
        key = self._key_of_weights.setdefault(weights, name)
        self._key_of_name[name] = key
        self._key_of_weights.move_to_end(weights)
        self._key_of_name.move_to_end(name)
        if len(self._key_of_weights) > _MAX_NAMES:
            self._key_of_weights.popitem(last=False)
        if len(self._key_of_name) > _MAX_NAMES:
            self._key_of_name.popitem(last=False)
        return key
