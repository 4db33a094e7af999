"""Makes room ahead: unloads in idle seconds what the next miss would have to wait for (POLICY.md, "ahead").

Never looks at the clock: that nothing has happened for a while, and that no unload is still being waited for, is the
caller's to know. Never loads anything.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from proxy.domain.units import format_bytes, format_duration
from proxy.policy.belief import Belief, bits
from proxy.policy.memory import Ahead, Memory, Resident, Wanted
from proxy.policy.room import Rooms

MIN_GAIN_SECONDS = 0.05
"""A smaller gain is not worth an unload."""

MIN_SHARE = 0.004
"""Models less likely to be asked for next are left out."""

MIN_RESIDENTS, MAX_RESIDENTS = 2, 9
"""A lone resident saves next to nothing by leaving early; of more than nine, too many sets would have to be weighed."""

RISK_WEIGHT = 0.8
"""How much what may be lost counts; the laboratory, without the correction of the chances, counted it twice."""


def room_ahead(memory: Memory, wanted: Sequence[Wanted]) -> Ahead | None:
    """Choose the resident whose leaving now saves the most waiting, if any saves more than 0.05 s.

    Args:
        memory: who is loaded.
        wanted: all known models, the residents among them; one that is missing is taken to be never asked for.
    """
    if not MIN_RESIDENTS <= len(memory.residents) <= MAX_RESIDENTS:
        return None
    outlook = _Outlook(Belief(memory), wanted)
    belief = outlook.belief
    stays_seconds = outlook.next_miss_seconds(belief.everyone)
    best, best_gain = None, MIN_GAIN_SECONDS
    for i in bits(belief.free_to_leave & belief.idle):
        risk_seconds = outlook.risk_seconds(i)
        if stays_seconds - risk_seconds <= best_gain:
            continue
        gain = stays_seconds - risk_seconds - outlook.next_miss_seconds(belief.everyone ^ 1 << i)
        if gain > best_gain:
            best, best_gain = belief.residents[i], gain
    if best is None:
        return None
    return Ahead(best.model, best_gain, outlook.return_chance(best), outlook.reason(best, best_gain))


class _Next(NamedTuple):
    """A model that may be asked for next: its bit if it is resident (else 0), and its share of all hazards."""

    model: str
    bytes: int
    bit: int
    share: float


class _Outlook:
    """Who is likely to be asked for next, and what making room for it would cost."""

    def __init__(self, belief: Belief, wanted: Sequence[Wanted]) -> None:
        self.belief = belief
        self._rooms = Rooms(belief)
        bit = {resident.model: 1 << i for i, resident in enumerate(belief.residents)}
        known = sorted(wanted, key=attrgetter("hazard", "model"))
        hazards = sum([w.hazard for w in known])
        self._shares = {w.model: w.hazard / hazards for w in known if hazards > 0}
        self._likely = tuple(
            _Next(w.model, w.bytes, bit.get(w.model, 0), share)
            for w in known
            if (share := self._shares.get(w.model, 0.0)) > MIN_SHARE
        )
        self._absent = sum([share for model, share in self._shares.items() if model not in bit])

    def next_miss_seconds(self, present: int) -> float:
        """Expected cost of making room for the next request, given who is present; no price of return."""
        return sum(x.share * self._room_seconds(present, x.bytes) for x in self._likely if not x.bit & present)

    def risk_seconds(self, i: int) -> float:
        """What it costs to have unloaded resident `i`: its load if it is asked for next, else its loss; weighted."""
        resident = self.belief.residents[i]
        chance = min(1.0, self.return_chance(resident) + self.belief.memory.return_bias)
        share = chance * self._misses_without(resident)
        return RISK_WEIGHT * (share * resident.load_seconds + (1.0 - share) * resident.loss_seconds)

    def return_chance(self, resident: Resident) -> float:
        """The chance that a resident, once gone, is the next model to be loaded."""
        misses = self._misses_without(resident)
        return self._shares.get(resident.model, 0.0) / misses if misses > 0 else 0.0

    def _misses_without(self, resident: Resident) -> float:
        """The chance that the next request is for a model that is not loaded, with this one gone."""
        return self._absent + self._shares.get(resident.model, 0.0)

    def reason(self, victim: Resident, gain_seconds: float) -> str:
        """Say what is gained and which model is likely to need the room."""
        gone = [x for x in self._likely if not x.bit]
        likeliest = f"most likely {gone[-1].model}, {gone[-1].share:.0%}" if gone else "none is likely"
        freed, loss = format_bytes(victim.bytes), format_duration(victim.loss_seconds)
        return (
            f"{victim.model} leaves ahead of need: saves {format_duration(gain_seconds)} at the next miss"
            f" ({likeliest}), frees {freed}, expected loss {loss}, idle {format_duration(victim.idle_seconds)}"
        )

    def _room_seconds(self, present: int, need_bytes: int) -> float:
        """cost*: 0 for what fits, and for what no unloading can help."""
        found = self._rooms.cheapest(present, need_bytes, coming_back=False)
        return found[1] if found else 0.0
