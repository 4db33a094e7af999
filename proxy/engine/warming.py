"""Loads ahead of use, in idle seconds: when to look, and who may be loaded. The policy chooses; `verdicts` judges."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.domain.effects import Cause
from proxy.engine import operation, verdicts, worth
from proxy.policy import WARM_UP_HORIZON_SECONDS, Soon

if TYPE_CHECKING:
    from proxy.engine.state import State

_IDLE_SECONDS = 3.0
_UNLOAD_WAIT_SECONDS = 5.2
_LOOK_AGAIN_SECONDS = 10.0
_MAX_WEIGHED = 64


@dataclass(slots=True)
class Warming:
    """Remembers when it looked last, and when the next model can be due."""

    looked_at: float = -math.inf
    due_at: float = math.inf

    def next_look(self, state: State) -> float:
        """Return when a warm-up is to be considered next, unix seconds; infinity: not before something happens."""
        idle_at = max(state.last_activity_at + _IDLE_SECONDS, state.last_unload_at + _UNLOAD_WAIT_SECONDS)
        if self.looked_at < state.last_activity_at:
            return idle_at
        return max(idle_at, self.looked_at + _LOOK_AGAIN_SECONDS, self.due_at - WARM_UP_HORIZON_SECONDS)

    def look(self, state: State, at: float) -> None:
        """Begin to load the model that the policy chooses, if any; nobody waits, and nothing is under way."""
        self.looked_at, self.due_at = at, math.inf
        models = _models(state)
        loadable = {model for model in models if _may_load(state, model, at)}
        if not loadable:  # as where warm-ups are off: the chances of all the others need not be reckoned
            return
        self.due_at = min(state.usage.next_due(model, at) for model in loadable)
        soon = [_shown(state, model, at, may_load=model in loadable) for model in models]
        warm = state.policy.warm_up(worth.memory(state, at), soon)
        if warm is None:
            return
        learnt = state.learnt(warm.model)
        carried_out = verdicts.pays(learnt)
        verdicts.expect(learnt, at, carried_out=carried_out)
        if carried_out and learnt.wants is not None:
            operation.begin_load(state, learnt.wants, warm.model, warm.victims, Cause.WARM_UP, warm.reason, at)


def _models(state: State) -> tuple[str, ...]:
    """The residents, and the models used last."""
    return tuple(dict.fromkeys((*state.residents, *state.usage.models[-_MAX_WEIGHED:])))


def _may_load(state: State, model: str, at: float) -> bool:
    """Whether it may be loaded ahead of use now; what was is judged before that."""
    rule, learnt = state.settings.rule_for(model), state.learnt(model)
    verdicts.overdue(state, model, learnt, at)
    allowed = rule.warm_up and not rule.never_keep and model not in state.residents
    return allowed and learnt.wants is not None and not verdicts.undecided(learnt)


def _shown(state: State, model: str, at: float, *, may_load: bool) -> Soon:
    """Show a model with the chance that it is asked for within the horizon."""
    learnt = state.learnt(model)
    size = worth.needed_bytes(state, model, learnt.wants.options) if learnt.wants else worth.likely_bytes(state, model)
    return Soon(
        model=model,
        bytes=size,
        load_seconds=worth.load_seconds(state, model, at),
        chance=state.usage.chance_soon(model, at, WARM_UP_HORIZON_SECONDS),
        weight=worth.weight(state, model),
        may_load=may_load,
        steady=state.usage.steady(model),
    )
