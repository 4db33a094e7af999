"""Tells whether a request would make Ollama reload a model that is loaded (OLLAMA.md 7). Knows no memory, no time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.domain.model import RUNNER_OPTIONS

if TYPE_CHECKING:
    from proxy.engine.state import Learnt, Resident, Running


def surely_reloads(resident: Resident, wants: Running, learnt: Learnt) -> bool:
    """Return True only where the options contradict for certain; a doubtful case is left to Ollama.

    An option that one side leaves open is Ollama's own choice, whose number only num_ctx lets us know.
    """
    runs = resident.runs
    if runs is None or runs.name != wants.name or runs == wants:
        return False
    loaded, asked = dict(runs.options.values), dict(wants.options.values)
    both = [key for key in RUNNER_OPTIONS - {"num_ctx"} if key in loaded and key in asked]
    if any(loaded[key] != asked[key] for key in both):
        return True
    shifts = {runs.options.shift, wants.options.shift} - {None}
    if len(shifts) > 1:
        return True
    if runs.options.num_ctx == wants.options.num_ctx:
        return False
    facts = learnt.facts
    modelfile = facts.default_num_ctx if facts is not None and facts.model == wants.name else None
    context = wants.options.num_ctx or modelfile or learnt.automatic_context
    if context is None or not resident.context_length:
        return False
    if facts is not None and facts.train_context:
        context = min(context, facts.train_context)
    return context != resident.context_length
