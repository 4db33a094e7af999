"""Brings what the engine believes to be resident in line with what `/api/ps` shows, and learns sizes from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.domain.effects import Cause, Observe
from proxy.domain.model import RunnerOptions
from proxy.engine import operation, serving, worth
from proxy.engine.state import Resident, Stage, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.domain.events import ResidentsObserved
    from proxy.domain.model import ObservedResident
    from proxy.engine.identity import Identities

_EXPIRY_SLACK_SECONDS = 2.0
_PS_LAG_SECONDS = 10.0


def observed(state: State, identities: Identities, event: ResidentsObserved) -> None:
    """Take over what `/api/ps` shows; an answer from before our last change is out of date."""
    if event.asked_at < state.changed_at:
        state.emit(Observe())
        return
    state.known = True
    lines = {identities.key(line.model, line.weights): line for line in event.residents}
    _remove_missing(state, lines, event)
    for model, line in lines.items():
        if not _being_loaded(state, model):
            _take_over(state, model, line, event.at)
    _learn_budget(state)
    current = state.operation
    if current is not None and current.stage is Stage.VERIFYING and current.model is not None:
        operation.verify(state, lines.get(current.model), event.at)


def unknown(state: State, reason: str, at: float) -> None:
    """Nothing can be managed for now: everyone who waits goes on as it came."""
    state.known, state.unknown_reason = False, reason
    operation.abandon(state)
    state.to_clear.clear()
    for held in tuple(state.held.values()):
        serving.pass_on(state, held, reason, at)


def _remove_missing(state: State, lines: Mapping[str, ObservedResident], event: ResidentsObserved) -> None:
    current = state.operation
    missing = [resident for resident in state.residents.values() if _has_left(state, resident, lines, event)]
    if missing and current is not None and current.stage in (Stage.LOADING, Stage.VERIFYING) and current.model:
        current.upstream_evicted = True
        _learn_refusal(state, current.model, lines.get(current.model))
    for resident in missing:
        operation.gone(state, resident, _cause(resident, event.at), event.at)


def _has_left(
    state: State, resident: Resident, lines: Mapping[str, ObservedResident], event: ResidentsObserved
) -> bool:
    """It is not shown, though it was there when `/api/ps` was asked, and no unload of ours is about to be reported."""
    if resident.model in lines or _being_loaded(state, resident.model) or resident.model in _victims(state):
        return False
    return all(since < event.asked_at for since in resident.serving.values())


def _cause(resident: Resident, at: float) -> Cause:
    if resident.leaving is not None:
        return resident.leaving
    return Cause.EXPIRY if resident.expires_at <= at + _EXPIRY_SLACK_SECONDS else Cause.UPSTREAM


def _take_over(state: State, model: str, line: ObservedResident, at: float) -> None:
    resident = state.residents.get(model)
    if resident is None:
        state.usage.seen(model, at)
        resident = state.residents[model] = Resident(
            model,
            line.model,
            line.bytes,
            line.vram_bytes,
            last_used_at=at,
            expires_at=line.expires_at,
            serving=state.in_flight_on(model),
        )
    resident.shown = line.model
    resident.bytes, resident.vram_bytes = line.bytes, line.vram_bytes
    resident.context_length = line.context_length
    if resident.leaving is Cause.EXPIRY and model not in _victims(state) and model not in state.to_clear:
        resident.leaving, resident.expires_at = None, max(line.expires_at, at + _EXPIRY_SLACK_SECONDS)
    elif resident.written is None or _others_wrote(state, resident, line):
        resident.written, resident.expires_at = None, line.expires_at
    if resident.runs is not None:
        learnt = state.learnt(model)
        num_ctx = resident.runs.options.num_ctx
        for context in {num_ctx, line.context_length or num_ctx}:  # what was asked for, and what it came to
            learnt.bytes_by_num_ctx.pop(context, None)  # the last one stands last
            learnt.bytes_by_num_ctx[context] = line.bytes
        while len(learnt.bytes_by_num_ctx) > 16:  # noqa: PLR2004 - more contexts than anyone uses
            del learnt.bytes_by_num_ctx[next(iter(learnt.bytes_by_num_ctx))]
        if num_ctx is None and line.context_length:
            learnt.automatic_context = line.context_length


def _others_wrote(state: State, resident: Resident, line: ObservedResident) -> bool:
    """Someone gave it another keep_alive past the proxy; `/api/ps` itself may lag by 5 s (OLLAMA.md 17).

    During a load it may as well be Ollama, which zeroes the keep_alive of a victim of its own.
    """
    if state.operation is not None and state.operation.load_under_way:
        return False
    return resident.idle and abs(line.expires_at - resident.expires_at) > _PS_LAG_SECONDS


def _victims(state: State) -> tuple[str, ...]:
    return tuple(state.operation.victims) if state.operation else ()


def _being_loaded(state: State, model: str) -> bool:
    current = state.operation
    return current is not None and current.model == model and current.stage is Stage.LOADING


def _learn_budget(state: State) -> None:
    residents = state.residents.values()
    if residents and all(resident.vram_bytes >= resident.bytes for resident in residents):
        state.budget = state.budget.with_fit(state.used_bytes())


def _learn_refusal(state: State, loading: str, line: ObservedResident | None) -> None:
    """Ollama made room during our load: by its 80 % rule and whatever it believed, there is less than this in all."""
    others = [resident for resident in state.residents.values() if resident.model != loading]
    options = state.operation.loads.options if state.operation and state.operation.loads else RunnerOptions()
    size = line.bytes if line else worth.needed_bytes(state, loading, options)
    if not size or len(others) >= state.budget.max_models(state.settings):
        return
    believed_used = [r.others_bytes + r.vram_bytes for r in others if r.others_bytes is not None]
    if len(believed_used) == len(others):
        most = max([sum(r.vram_bytes for r in others), *believed_used])
        state.budget = state.budget.with_refusal(int(most + size / worth.OLLAMA_RULE) - 1)
