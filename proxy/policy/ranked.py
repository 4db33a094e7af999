"""Turns TTLs into keep_alive numbers whose order is the order of the losses, because Ollama evicts by it (OLLAMA.md 1).

Never lowers a TTL, and never makes one endless: a dead proxy must not hold memory for ever.
"""

from collections.abc import Iterable
from math import ceil
from typing import NamedTuple


class Kept(NamedTuple):
    """A resident to be ranked; seconds are finite. Not checked: one is made of each resident at each decision.

    Attributes:
        model: canonical name.
        ttl_seconds: how long it is to stay from now on.
        loss_seconds: expected seconds of waiting if it leaves.
        max_seconds: ceiling of its TTL.
        pinned: ranks above all that are not.
    """

    model: str
    ttl_seconds: float
    loss_seconds: float
    max_seconds: float
    pinned: bool = False


def ranked_keep_alive(residents: Iterable[Kept]) -> dict[str, int]:
    """Whole seconds of keep_alive per model, at least 1, no two alike: a higher loss always has the longer value.

    A value is lifted where the order asks for it, by a second above the one below; a pinned model gets its ceiling and
    a second for each resident. Equal losses follow their TTLs.
    """
    order = sorted(residents, key=lambda kept: (kept.pinned, kept.loss_seconds, kept.ttl_seconds, kept.model))
    values: dict[str, int] = {}
    value = 0
    for kept in order:
        own_seconds = kept.max_seconds + len(order) if kept.pinned else kept.ttl_seconds
        value = values[kept.model] = max(ceil(own_seconds), value + 1)
    return values
