"""Forwards requests: with the keep_alive of the moment, without one while a load is under way, or as they came."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.domain.effects import Forward, KeepAlive, Outcome
from proxy.engine import keep_alive
from proxy.engine.state import Held, InFlight, Running, State

if TYPE_CHECKING:
    from proxy.domain.model import ModelRequest
    from proxy.engine.state import Resident


def serve(state: State, held: Held, resident: Resident, outcome: Outcome, at: float) -> None:
    """Forward a request to its resident model."""
    request, num_ctx = held.request, None
    if _must_withhold(state, resident):
        value: int | KeepAlive = KeepAlive.WITHHELD if request.endpoint.carries_keep_alive else KeepAlive.AS_IT_CAME
        reason = "a load is under way: no keep_alive may reach another model"
    else:
        decided = keep_alive.decide(state, held.model, at)
        value = keep_alive.for_request(state, request, held.model, decided)
        keep_alive.note_written(state, resident, value, request, at)
        keep_alive.note_granted(resident, value, decided)
        if not request.endpoint.carries_keep_alive:
            keep_alive.touch_if_outdated(state, resident, held.wants, decided, at)
        reason = f"{held.model} is resident"
    if held.wants.options != request.options:
        held = held._replace(request=request._replace(options=held.wants.options))
        num_ctx = held.wants.options.num_ctx
        reason = f"{reason}; num_ctx {num_ctx} serves others too"
    resident.serving[held.request_id] = at
    resident.last_used_at = at
    _forward(state, held, outcome, value, reason, at, num_ctx)


def serve_waiting(state: State, model: str, runs: Running, at: float) -> None:
    """Forward all requests that waited for a model to run like this; without it, as they came."""
    resident = state.residents.get(model)
    for held in tuple(state.held.values()):
        if held.model != model or held.wants != runs:
            continue
        if resident is None:
            pass_on(state, held, f"{model} was loaded but is not in /api/ps", at)
        else:
            serve(state, held, resident, Outcome.COLD, at)


def pass_on(state: State, held: Held, reason: str, at: float) -> None:
    """Forward a request as it came: Ollama manages its model this time."""
    resident = state.residents.get(held.model)
    if resident is not None:
        resident.serving[held.request_id] = at
        resident.runs = None
        keep_alive.note_written(state, resident, KeepAlive.AS_IT_CAME, held.request, at)
    _forward(state, held, Outcome.PASSTHROUGH, KeepAlive.AS_IT_CAME, reason, at)


def pass_unmanaged(state: State, request_id: int, request: ModelRequest, reason: str, at: float) -> None:
    """Forward a request of which nothing is managed."""
    state.in_flight[request_id] = InFlight(None, request, Outcome.PASSTHROUGH, at)
    state.emit(Forward(request_id, Outcome.PASSTHROUGH, KeepAlive.AS_IT_CAME, reason))


def _must_withhold(state: State, resident: Resident) -> bool:
    operation = state.operation
    return operation is not None and operation.load_under_way and operation.model != resident.model


def _forward(
    state: State,
    held: Held,
    outcome: Outcome,
    value: int | KeepAlive,
    reason: str,
    at: float,
    num_ctx: int | None = None,
) -> None:
    state.held.pop(held.request_id, None)
    state.last_activity_at = at
    state.in_flight[held.request_id] = InFlight(held.model, held.request, outcome, at)
    state.emit(Forward(held.request_id, outcome, value, reason, num_ctx))
