"""Loads ahead of use: the model whose presence spares the most waiting in the next seconds.

Never looks at the clock and never takes room from a model whose absence would cost more: what every known model would
make its client wait for if it were asked for is weighed with and without the load, who has to leave included.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from proxy.domain.units import format_duration
from proxy.policy.belief import Belief
from proxy.policy.memory import Memory, Resident, Soon, WarmUp
from proxy.policy.room import Rooms

HORIZON_SECONDS = 30.0
"""How far ahead a load has to pay."""

MIN_CHANCE = 0.65
"""What is less likely to be asked for within the horizon is not loaded ahead."""

MIN_STEADY_CHANCE = 0.25
"""The same for a model that is asked for by a schedule: its chances are to be trusted."""

MIN_GAIN_SECONDS = 0.3
"""A smaller gain is not worth a load."""

MAX_RESIDENTS = 9
"""Beside more, too many sets of victims would have to be weighed."""

_MAX_WEIGHED = 3
_LEAST_CHANCE = 0.03
_BLOCKED_WEIGHT = 3.0


def warm_up(memory: Memory, soon: Sequence[Soon]) -> WarmUp | None:
    """Choose the model whose load now saves the most waiting, if any saves more than 0.3 s.

    Args:
        memory: who is loaded.
        soon: the known models, residents among them; one that is missing is taken to be never asked for.
    """
    if len(memory.residents) > MAX_RESIDENTS or not any(_eligible(model, memory) for model in soon):
        return None
    outlook = _Outlook(memory, {model.model: model for model in soon})
    eligible = [model for model in soon if _eligible(model, memory) and model.model in outlook.rooms]
    eligible.sort(key=lambda model: (-outlook.miss_seconds(model), model.model))
    plans = [plan for model in eligible[:_MAX_WEIGHED] if (plan := outlook.plan(model)) is not None]
    return max(plans, key=lambda plan: plan.gain_seconds, default=None)


def _eligible(model: Soon, memory: Memory) -> bool:
    loaded = any(resident.model == model.model for resident in memory.residents)
    likely = model.chance >= (MIN_STEADY_CHANCE if model.steady else MIN_CHANCE)
    return model.may_load and likely and model.bytes > 0 and not loaded


class _Outlook:
    """What the next requests are expected to wait for, given who is loaded.

    Attributes:
        rooms: victims and cost of making room, for each model that is not loaded and likely enough to count.
    """

    def __init__(self, memory: Memory, soon: Mapping[str, Soon]) -> None:
        residents = tuple(_for_now(resident, soon.get(resident.model)) for resident in memory.residents)
        self._memory = replace(memory, residents=residents)
        self._belief = Belief(self._memory)
        self._priced = Rooms(self._belief)
        self._soon = soon
        loaded = {resident.model for resident in residents}
        self.rooms = {
            model.model: found
            for model in soon.values()
            if model.chance >= _LEAST_CHANCE
            and model.model not in loaded
            and (found := self._priced.cheapest(self._belief.everyone, model.bytes, coming_back=False))
        }

    def miss_seconds(self, model: Soon) -> float:
        """What a model that is not loaded is expected to cost: its chance, times making room and loading."""
        return model.chance * (model.weight * model.load_seconds + self.rooms[model.model][1])

    def expected_seconds(self) -> float:
        """What all of them are expected to cost."""
        return sum(self.miss_seconds(self._soon[name]) for name in self.rooms)

    def plan(self, model: Soon) -> WarmUp | None:
        """Weigh the load of a model now."""
        mask, room_seconds = self.rooms[model.model]
        if mask & ~self._belief.idle:
            return None
        victims = [self._belief.residents[i] for i in self._priced.order(mask)]
        losses = sum(victim.loss_seconds for victim in victims)
        if losses > self.miss_seconds(model):
            return None
        after = _Outlook(self._loaded(model, victims), self._soon)
        blocked_seconds = self._blocked_seconds(model, model.load_seconds + room_seconds - losses)
        gain_seconds = self.expected_seconds() - after.expected_seconds() - blocked_seconds
        if gain_seconds <= MIN_GAIN_SECONDS:
            return None
        horizon, gain = format_duration(HORIZON_SECONDS), format_duration(gain_seconds)
        reason = f"ahead of use: asked for within {horizon} {model.chance:.0%}, saves {gain} of waiting"
        return WarmUp(model.model, tuple(victim.model for victim in victims), gain_seconds, reason)

    def _blocked_seconds(self, model: Soon, takes_seconds: float) -> float:
        """What those are expected to wait for who ask for other models meanwhile; weighted, they may have to reload."""
        others = sum(self._soon[name].chance for name in self.rooms if name != model.model) / HORIZON_SECONDS
        return _BLOCKED_WEIGHT * others * takes_seconds**2 / 2

    def _loaded(self, model: Soon, victims: Sequence[Resident]) -> Memory:
        """The memory once the model is loaded."""
        memory = self._memory
        stay = tuple(resident for resident in memory.residents if resident not in victims)
        used_bytes = sum(resident.bytes for resident in stay) + model.bytes
        free_bytes = None if memory.budget_bytes is None else max(0, memory.budget_bytes - used_bytes)
        new = Resident(
            model.model,
            model.bytes,
            free_bytes,
            loss_seconds=model.chance * model.weight * model.load_seconds,
            return_probability=0.0,
            load_seconds=model.load_seconds,
            idle_seconds=0.0,
        )
        return replace(memory, residents=(*stay, new))


def _for_now(resident: Resident, soon: Soon | None) -> Resident:
    """A resident as it counts within the horizon."""
    return replace(resident, loss_seconds=soon.chance * soon.weight * resident.load_seconds if soon else 0.0)
