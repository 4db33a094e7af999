"""What each model is worth at this moment: the figures that policies decide from, drawn from the engine's state."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from proxy.domain.model import automatic_num_ctx
from proxy.policy import Memory, Need, Wanted
from proxy.policy import Resident as Candidate

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from proxy.domain.model import RunnerOptions
    from proxy.engine.state import Resident, State

_PRIOR_SERVICE_SECONDS = 10.0
_LEAST_REMAINING_SECONDS = 0.5
_PAGE_CACHE_SECONDS = 3600.0

OLLAMA_RULE = 0.8
"""Share of the memory believed free that Ollama lets a new model take beside others (OLLAMA.md 8)."""


class Loss(NamedTuple):
    """What it costs if a model is gone now.

    Attributes:
        load_seconds: what loading it again takes.
        chance: that it is asked for within the horizon, 0 … 1.
        seconds: expected waiting, weighted.
    """

    load_seconds: float
    chance: float
    seconds: float


class Costs(NamedTuple):
    """What a load takes: GPU memory in bytes, 0: not known; and seconds."""

    bytes: int
    load_seconds: float


def needed_bytes(state: State, model: str, options: RunnerOptions) -> int:
    """GPU memory to make free for the model with these options: as seen before, but no less than Ollama predicts.

    Ollama decides by its prediction whether others have to leave, whatever the model then takes.
    """
    learnt = state.learnt(model)
    seen = learnt.bytes_by_num_ctx.get(options.num_ctx, 0)
    if learnt.facts is None:
        return seen
    automatic = learnt.automatic_context or automatic_num_ctx(state.budget.total(state.settings))
    return max(seen, learnt.facts.estimated_bytes(options.num_ctx, automatic))


def load_seconds(state: State, model: str, at: float) -> float:
    """Seconds that loading it takes now, by how long ago it left (page cache); before the first load by its size."""
    warm = page_cache_warm(state, model, at)
    return state.usage.load_seconds(model, file_bytes=file_bytes(state, model), page_cache_warm=warm)


def file_bytes(state: State, model: str) -> int:
    """Size of its weights file; 0: not known."""
    facts = state.learnt(model).facts
    return facts.file_bytes if facts else 0


def page_cache_warm(state: State, model: str, at: float) -> bool:
    """Tell whether its file is likely still in main memory: it is loaded, or left less than an hour ago."""
    return model in state.residents or at - state.learnt(model).left_at < _PAGE_CACHE_SECONDS


def weight(state: State, model: str) -> float:
    """How much a second of waiting for the model counts: as the settings say, times that of who usually asks for it."""
    return state.settings.rule_for(model).weight * state.usage.client_weight(model)


def loss(state: State, model: str, at: float) -> Loss:
    """Return what it would cost if the model were gone now."""
    reload_seconds = load_seconds(state, model, at)
    chance = state.usage.probability(model, at, state.usage.horizon_seconds)
    return Loss(reload_seconds, chance, reload_seconds * chance * weight(state, model))


def candidate(state: State, resident: Resident, at: float) -> Candidate:
    """Show a resident as policies see it."""
    model = resident.model
    lost = loss(state, model, at)
    return Candidate(
        model=model,
        bytes=resident.vram_bytes,
        believed_bytes=resident.believed_bytes(state.budget.total(state.settings)),
        loss_seconds=lost.seconds,
        return_probability=state.usage.probability(model, at, state.usage.return_horizon_seconds),
        load_seconds=lost.load_seconds,
        idle_seconds=state.usage.idle_seconds(model, at),
        remaining_seconds=remaining_seconds(state, resident, at),
        pinned=state.settings.rule_for(model).pin,
        last_used_at=resident.last_used_at,
    )


def memory(state: State, at: float, without: Collection[str] = ()) -> Memory:
    """Show the memory and its residents as policies see them, some left out."""
    return Memory(
        budget_bytes=state.budget.usable(state.settings),
        max_models=state.budget.max_models(state.settings),
        settle_seconds=state.settling.seconds,
        residents=tuple(candidate(state, r, at) for r in state.residents.values() if r.model not in without),
        return_bias=state.usage.returns.bias,
    )


def surely_let_in(state: State, model: str, options: RunnerOptions) -> bool:
    """Tell whether Ollama loads the model beside the residents whomever of them it asks (OLLAMA.md 8, 16)."""
    total = state.budget.total(state.settings)
    if total is None or len(state.residents) >= state.budget.max_models(state.settings):
        return not state.residents
    believed = [resident.believed_bytes(total) or 0 for resident in state.residents.values()]
    return needed_bytes(state, model, options) <= OLLAMA_RULE * min([total - state.used_bytes(), *believed])


def has_place(state: State, model: str, options: RunnerOptions, reserved: Sequence[int] = ()) -> bool:
    """Tell whether none of the others would have to leave for a model, by the plain rule (OLLAMA.md 8).

    `reserved` are sizes of models that left for another's sake: they count as if they were there.
    """
    others = [*reserved, *(resident.vram_bytes for resident in state.residents.values() if resident.model != model)]
    usable = state.budget.usable(state.settings)
    fits_in = usable is None or needed_bytes(state, model, options) <= OLLAMA_RULE * (usable - sum(others))
    return not others or (fits_in and len(others) < state.budget.max_models(state.settings))


def need(state: State, model: str, options: RunnerOptions) -> Need:
    """Show a model to be loaded as policies see it."""
    return Need(model, needed_bytes(state, model, options))


def wanted(state: State, at: float) -> list[Wanted]:
    """Show all models that were ever used, with the chance per second that they are asked for now."""
    residents = state.residents
    return [
        Wanted(model, residents[model].vram_bytes if model in residents else likely_bytes(state, model), hazard)
        for model, hazard in state.usage.hazards_now(at)
    ]


def costs(state: State, model: str, options: RunnerOptions, at: float) -> Costs:
    """Return what a load of the model with these options takes now, as far as is known."""
    seen = state.learnt(model).bytes_by_num_ctx.get(options.num_ctx)
    return Costs(seen or likely_bytes(state, model), load_seconds(state, model, at))


def likely_bytes(state: State, model: str) -> int:
    """GPU memory that the model took when it was loaded last, else what Ollama's formula says; 0: not known."""
    learnt = state.learnt(model)
    sizes, facts = learnt.bytes_by_num_ctx, learnt.facts
    if sizes:
        return sizes[next(reversed(sizes))]
    return facts.estimated_bytes(None, automatic_num_ctx(state.budget.total(state.settings))) if facts else 0


def known_bytes(state: State) -> dict[str, int]:
    """GPU memory of each model that was ever used and whose size is known."""
    return {model: size for model in state.usage.models if (size := likely_bytes(state, model))}


def remaining_seconds(state: State, resident: Resident, at: float) -> float:
    """Return the expected rest of what a resident serves, 0 when idle: the average, or as long again as it has taken.

    Answers have no usual length: one that has run for long is no nearer to its end than one that has just begun.
    """
    if resident.idle:
        return 0.0
    so_far = at - min(resident.serving.values())
    usual = state.usage.service_seconds(resident.model, _PRIOR_SERVICE_SECONDS)
    return max(_LEAST_REMAINING_SECONDS, usual, so_far)
