"""What Ollama believes about free memory while given models are loaded, and how long it dawdles after an unload.

Never decides who leaves. A set of residents is a bit mask; bit i is the resident i-th in rank: the one that Ollama
unloads first, because its keep_alive follows its loss, is bit 0.
"""

from collections.abc import Iterator

from proxy.policy.memory import Memory, Resident

FILL = 0.8
"""Share of the memory believed free that Ollama lets a new model take beside others (OLLAMA.md 8)."""

PINNED_LOSS_SECONDS = 1e6
"""What losing a pinned model counts: more than anything else together, and finite, so that plans still compare."""

DRAIN_WEIGHT = 3.0
"""How many wait for each second until a busy model is idle: who needs the room, others behind, who wants the model."""

_SOLE_WAIT_SECONDS, _LONG_WAIT_SECONDS, _SHORT_WAIT_SECONDS = 0.4, 5.0, 0.25
_SURPRISE = 0.75


def bits(mask: int) -> Iterator[int]:
    """Indices of the residents in a set, in rank."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


class Belief:
    """The residents of a memory in rank, and what Ollama would believe if only some of them were loaded."""

    def __init__(self, memory: Memory) -> None:
        ranked = sorted(memory.residents, key=lambda r: (_loss(r), r.last_used_at, r.model))
        self.memory = memory
        self.residents = tuple(ranked)
        self.losses = tuple(_loss(resident) for resident in ranked)
        self.everyone = (1 << len(ranked)) - 1
        self.free_to_leave = sum(1 << i for i, resident in enumerate(ranked) if not resident.pinned)
        self.idle = sum(1 << i for i, resident in enumerate(ranked) if not resident.busy)
        self._used = {0: 0}
        self._believers: dict[int, int] = {}
        self._surprising = tuple(
            sum(1 << j for j, other in enumerate(ranked) if other is not resident and _surprises(other, resident))
            for resident in ranked
        )

    def used_bytes(self, mask: int) -> int:
        """Bytes that a set of residents occupies."""
        used = self._used.get(mask)
        if used is None:
            low = mask & -mask
            used = self.used_bytes(mask ^ low) + self.residents[low.bit_length() - 1].bytes
            self._used[mask] = used
        return used

    def allows(self, mask: int, need_bytes: int) -> bool:
        """The plain rule: whether a model may be loaded beside a set of residents; beside none, always."""
        return not mask or self.fits(mask.bit_count(), self.used_bytes(mask), need_bytes)

    def fits(self, count: int, used_bytes: int, need_bytes: int) -> bool:
        """The plain rule in numbers: beside so many models that occupy so many bytes."""
        budget_bytes = self.memory.budget_bytes
        fits_in = budget_bytes is None or need_bytes <= FILL * (budget_bytes - used_bytes)
        return count < self.memory.max_models and fits_in

    def believers(self, need_bytes: int) -> int:
        """The residents that, asked by Ollama, let a model of this size in. Without a budget nothing is in doubt."""
        known = self._believers.get(need_bytes)
        if known is None:
            known = sum(1 << i for i, resident in enumerate(self.residents) if self._believes(resident, need_bytes))
            self._believers[need_bytes] = known
        return known

    def wait_seconds(self, leaving: int, mask: int) -> float:
        """wait(v | R): Ollama's expected pause after unloading `leaving`, one of the set `mask` (OLLAMA.md 17)."""
        count = mask.bit_count()
        if count == 1:
            return _SOLE_WAIT_SECONDS
        short = (mask & self._surprising[leaving]).bit_count() / (count * (count - 1))
        return _LONG_WAIT_SECONDS - (_LONG_WAIT_SECONDS - _SHORT_WAIT_SECONDS) * short

    def _believes(self, resident: Resident, need_bytes: int) -> bool:
        return self.memory.budget_bytes is None or need_bytes <= FILL * (resident.believed_bytes or 0)


def doubt(mask: int, believers: int) -> float:
    """1 - ok(R, m) where the plain rule holds: the chance that Ollama, asking a resident at random, sees too little."""
    return 1.0 - (mask & believers).bit_count() / mask.bit_count() if mask else 0.0


def _loss(resident: Resident) -> float:
    """What it costs if this resident leaves: its loss, and that everyone waits for the rest of what it serves."""
    drain_seconds = DRAIN_WEIGHT * resident.remaining_seconds
    return (PINNED_LOSS_SECONDS if resident.pinned else resident.loss_seconds) + drain_seconds


def _surprises(other: Resident, leaving: Resident) -> bool:
    """Whether asking `other` after `leaving` makes free memory seem to have changed enough to end the pause at once."""
    if other.believed_bytes is None or leaving.believed_bytes is None:
        return False
    rise = other.believed_bytes - leaving.believed_bytes
    return rise < 0 or rise > _SURPRISE * leaving.bytes
