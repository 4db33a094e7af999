"""Makes room for a model: the set of victims of least cost, priced whole (POLICY.md, "The rule").

Never unloads anything, and never takes a pinned model.
"""

from collections.abc import Iterator
from math import inf

from proxy.policy.belief import Belief, bits, doubt
from proxy.policy.memory import Memory, Need, Room
from proxy.policy.reasons import leaving, no_room

RETURN_SECONDS = 7.0
"""Price of a victim that is wanted again soon and does not fit back: another swap."""

MAX_CANDIDATES = 11
"""All sets of so many victims are weighed, 2^11; of more, the ones next in rank follow one by one."""

_TIE_SECONDS = 1e-6
"""Sets that differ by less cost the same: of them, the one that costs less for certain; rounding decides nothing."""


def make_room(memory: Memory, need: Need) -> Room:
    """Choose who leaves for a model; a model bigger than the budget has everyone leave who is not pinned."""
    belief = Belief(memory)
    rooms = Rooms(belief)
    found = rooms.cheapest(belief.everyone, need.bytes, coming_back=True)
    if found is None:
        return Room(victims=(), cost_seconds=0.0, idle=True, fits=False, reason=no_room(memory, need))
    mask, cost_seconds = found
    victims = [belief.residents[i] for i in rooms.order(mask)]
    return Room(
        victims=tuple(victim.model for victim in victims),
        cost_seconds=cost_seconds,
        idle=not any(victim.busy for victim in victims),
        fits=True,
        reason=leaving(memory, need, victims),
    )


class Rooms:
    """The costs of making room, for one state of memory and any subset of its residents (bit masks as in `Belief`)."""

    def __init__(self, belief: Belief) -> None:
        self._belief = belief
        self._settle_seconds = belief.memory.settle_seconds
        believed = [resident.believed_bytes or 0 for resident in belief.residents]
        self._unloading_order = sorted(range(len(believed)), key=lambda i: (-believed[i], i))
        self._tails: dict[tuple[int, int], float] = {}
        self._sets: dict[tuple[int, int], list[tuple[float, int, float]]] = {}

    def order(self, victims: int) -> list[int]:
        """The victims in the order of unloading: whose belief is largest first, so that the next pause may be short."""
        return [i for i in self._unloading_order if victims >> i & 1]

    def cheapest(self, present: int, need_bytes: int, *, coming_back: bool) -> tuple[int, float] | None:
        """The set of least cost among the residents `present`; busy ones cost what they still have to serve on top.

        Args:
            present: who is loaded.
            need_bytes: what has to fit.
            coming_back: whether to count the price of return.

        Returns:
            The victims and the cost in seconds; None if only pinned models could make room.
        """
        believers = self._belief.believers(need_bytes)
        if self._belief.allows(present, need_bytes) and not self._tail(present, believers):
            return 0, 0.0  # nothing can cost less than nobody
        best, best_seconds = None, inf
        for certain_seconds, victims, last_pause in self._priced_sets(present, present & self._belief.free_to_leave):
            if certain_seconds >= best_seconds - _TIE_SECONDS:
                break
            stays = present ^ victims
            if not self._belief.allows(stays, need_bytes):
                continue
            blocked_seconds = max(0.0, last_pause - self._settle_seconds)
            seconds = certain_seconds + doubt(stays, believers) * blocked_seconds + self._tail(stays, believers)
            if coming_back and seconds < best_seconds:
                seconds += self._return_seconds(victims, stays, need_bytes)
            if seconds < best_seconds - _TIE_SECONDS:
                best, best_seconds = victims, seconds
        return None if best is None else (best, best_seconds)

    def _priced_sets(self, present: int, candidates: int) -> list[tuple[float, int, float]]:
        """Every set of victims, the cheapest first: what it costs for certain, itself, its last pause.

        What is certain depends on no need, so one list serves every model that could be wanted.
        """
        known = self._sets.get((present, candidates))
        if known is None:
            known = self._sets[present, candidates] = sorted(self._priced(present, candidates))
        return known

    def _priced(self, present: int, candidates: int) -> Iterator[tuple[float, int, float]]:
        """All sets of the first candidates in rank; of more candidates, the others follow one by one.

        Losses, settling, and the pauses between unloads; the last pause is not waited for. Each set is one that is
        priced already and the last to be unloaded.
        """
        ranked = list(bits(candidates))
        first = sum(1 << i for i in ranked[:MAX_CANDIDATES])
        priced = [(0.0, 0, 0.0)]
        for i in self.order(first):
            priced += [self._and_then(present, earlier, i) for earlier in priced]
        yield from priced
        for i in ranked[MAX_CANDIDATES:]:
            first |= 1 << i
            victims = (0.0, 0, 0.0)
            for each in self.order(first):
                victims = self._and_then(present, victims, each)
            yield victims

    def _and_then(self, present: int, earlier: tuple[float, int, float], i: int) -> tuple[float, int, float]:
        seconds, victims, pause = earlier
        begun_seconds = seconds if victims else self._settle_seconds
        wait_seconds = self._belief.wait_seconds(i, present ^ victims)
        return begun_seconds + (pause + self._belief.losses[i]), victims | 1 << i, wait_seconds

    def _tail(self, stays: int, believers: int) -> float:
        """What Ollama is expected to cost by evicting on, in rank, while it does not believe that there is room."""
        unsure = doubt(stays, believers)
        if not unsure:
            return 0.0
        key = (stays, believers)
        seconds = self._tails.get(key)
        if seconds is None:
            low = stays & -stays
            i = low.bit_length() - 1
            loss_seconds, pause = self._belief.losses[i], self._belief.wait_seconds(i, stays)
            seconds = self._tails[key] = unsure * (loss_seconds + pause + self._tail(stays ^ low, believers))
        return seconds

    def _return_seconds(self, victims: int, stays: int, need_bytes: int) -> float:
        """The price of return, jointly: a victim that fits back takes its bytes and its place from the next.

        The model that comes and the victims that are back have been loaded just now: asked by Ollama, they see what is
        really free, which is enough wherever the plain rule holds.
        """
        belief = self._belief
        count, used_bytes, seconds = stays.bit_count() + 1, belief.used_bytes(stays) + need_bytes, 0.0
        for i in sorted(bits(victims), key=lambda i: (-belief.residents[i].return_probability, i)):
            victim = belief.residents[i]
            misses = 1.0
            if belief.fits(count, used_bytes, victim.bytes):
                misses = (stays & ~belief.believers(victim.bytes)).bit_count() / count
                count, used_bytes = count + 1, used_bytes + victim.bytes
            seconds += RETURN_SECONDS * victim.return_probability * misses
        return seconds
