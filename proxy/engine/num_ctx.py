"""The guard of num_ctx: the options that a request is to run with, so that clients that disagree cause no reloads.

A native request can be given a context; one through `/v1` runs with the Modelfile's or Ollama's automatic one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.domain.model import RunnerOptions
from proxy.domain.settings import NumCtx
from proxy.engine import worth
from proxy.policy import unified

if TYPE_CHECKING:
    from proxy.domain.model import ModelFacts, ModelRequest
    from proxy.engine.state import Learnt, State


def options_for(
    state: State, model: str, learnt: Learnt, request: ModelRequest, facts: ModelFacts, at: float
) -> RunnerOptions:
    """Take note of the context that a request needs, and return the options to run it with: its own, or unified."""
    options = request.options
    if not request.endpoint.carries_keep_alive:
        state.usage.asked_for_context(model, None, at)
        return options
    least = _needed(options, learnt, facts)
    if least is None:
        return options
    state.usage.asked_for_context(model, least, at)
    if state.settings.rule_for(model).num_ctx is not NumCtx.UNIFY:
        return options
    num_ctx = _unified(state, model, least, facts, at)
    return options if num_ctx == least else _with_num_ctx(options, num_ctx)


def _needed(options: RunnerOptions, learnt: Learnt, facts: ModelFacts) -> int | None:
    """The context that the request would get by itself, in tokens; None: not known, or not for us to judge."""
    needed = options.num_ctx
    if needed is None and not (options.values and "num_ctx" in dict(options.values)):
        needed = facts.default_num_ctx or learnt.automatic_context
    if needed is None or needed <= 0:
        return None
    return min(needed, facts.train_context) if facts.train_context else needed


def _unified(state: State, model: str, least: int, facts: ModelFacts, at: float) -> int:
    """What is loaded is kept if it is enough: nothing is reloaded for the sake of others."""
    resident = state.residents.get(model)
    if resident is not None and resident.context_length >= least:
        return resident.context_length
    asked = state.usage.contexts(model, at)
    automatic = _needed(RunnerOptions(), state.learnt(model), facts) if asked.open_ended else None
    return unified(least, asked.num_ctx, automatic, lambda num_ctx: _fits(state, model, num_ctx, facts))


def _fits(state: State, model: str, num_ctx: int, facts: ModelFacts) -> bool:
    """Tell whether the model is known to fit with that context: it was seen, or its size can be reckoned."""
    usable = state.budget.usable(state.settings)
    if num_ctx not in state.learnt(model).bytes_by_num_ctx and not (usable and facts.kv_bytes_per_token):
        return False
    return usable is None or worth.needed_bytes(state, model, _with_num_ctx(RunnerOptions(), num_ctx)) <= usable


def _with_num_ctx(options: RunnerOptions, num_ctx: int) -> RunnerOptions:
    others = [(key, value) for key, value in options.values if key != "num_ctx"]
    return options._replace(values=tuple(sorted([*others, ("num_ctx", num_ctx)])))
