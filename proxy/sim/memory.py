"""GPU memory as the driver tells it, and as Ollama believes it to be; decides nothing and moves no time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from proxy.sim.resident import Resident

_GROUP_SLOTS = 8


class Driver:
    """What the driver says: it may count the memory of an ended process for a while.

    Args:
        total_bytes: Memory of the GPU.
        lag_seconds: How long freed memory still counts as used.
    """

    __slots__ = ("_ghosts", "_used", "lag_seconds", "total_bytes")

    def __init__(self, total_bytes: int, lag_seconds: float) -> None:
        self.total_bytes = total_bytes
        self.lag_seconds = lag_seconds
        self._used = 0
        self._ghosts: list[tuple[float, int]] = []

    def free_bytes(self, now: float) -> int:
        """Free memory by the driver's word."""
        if self._ghosts:
            self._ghosts = [ghost for ghost in self._ghosts if ghost[0] > now]
        return max(0, self.total_bytes - self._used - sum(size for _, size in self._ghosts))

    def take(self, size: int) -> None:
        """A runner has allocated `size` bytes."""
        self._used += size

    def release(self, now: float, size: int) -> None:
        """The runner that had `size` bytes has ended."""
        self._used -= size
        if self.lag_seconds:
            self._ghosts.append((now + self.lag_seconds, size))


class LoadedModels:
    """Ollama's map of loaded models: a Go map, whose order of iteration decides which of them is asked for memory.

    Up to 8 entries sit in 8 slots: a new one takes the lowest free slot, iteration starts at a random slot and wraps.
    A map that once held 9 is a table from then on: any order.
    """

    __slots__ = ("_by_weights", "_slots", "_table")

    def __init__(self) -> None:
        self._by_weights: dict[str, Resident] = {}
        self._slots: list[Resident | None] = [None] * _GROUP_SLOTS
        self._table = False

    def __len__(self) -> int:
        return len(self._by_weights)

    def __iter__(self) -> Iterator[Resident]:
        return iter(self._by_weights.values())

    def get(self, weights: str) -> Resident | None:
        """The loaded model with these weights."""
        return self._by_weights.get(weights)

    def add(self, resident: Resident) -> None:
        """A load has ended."""
        self._by_weights[resident.spec.weights] = resident
        if None in self._slots:
            self._slots[self._slots.index(None)] = resident
        else:
            self._table = True

    def remove(self, resident: Resident) -> None:
        """A model leaves."""
        del self._by_weights[resident.spec.weights]
        if resident in self._slots:
            self._slots[self._slots.index(resident)] = None

    def asked(self, rng: random.Random) -> list[Resident]:
        """The loaded models on the GPU in the order in which one look at the map meets them."""
        if self._table:
            order = list(self._by_weights.values())
            rng.shuffle(order)
        else:
            start = rng.randrange(_GROUP_SLOTS) if len(self._by_weights) > 1 else 0
            slots = self._slots
            order = [r for r in slots[start:] + slots[:start] if r is not None]
        return [resident for resident in order if resident.on_gpu]

    def believed_free_bytes(self, total_bytes: int, driver_free_bytes: int, rng: random.Random) -> int:
        """What Ollama believes to be free for one more model: the stale word of one runner, less what is loaded."""
        asked = self.asked(rng)
        reported = asked[0].believed_free_bytes if asked else driver_free_bytes
        return max(0, min(total_bytes - sum(resident.vram_bytes for resident in asked), reported))

    def first_to_leave(self) -> Resident | None:
        """The idle model of shortest keep_alive, else the busy one; among equals the smallest digest. None if empty."""
        return min(
            self._by_weights.values(),
            key=lambda r: (r.refs > 0, r.keep_alive_seconds, r.spec.weights),
            default=None,
        )
