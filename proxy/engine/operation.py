"""The one operation on memory at a time: unload the victims, settle, load, verify, serve who waited.

    1 victims left        → unload the next one, see it gone from /api/ps
    2 nothing to load     → done
    3 memory not free yet → settle
    4 load                → with the runner options of the request that needs it, the others' keep_alive put in order
    5 verify              → spilled although it should have fitted: unload, settle longer, load once more
    6 serve               → everyone who waits for the model, together

Whatever fails on the way: those who waited are forwarded as they came, and Ollama answers them.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from proxy.domain.effects import Cause, Left, Load, Loaded, ManagementFailed, Settle, Unload
from proxy.engine import keep_alive, serving, settling, verdicts, worth
from proxy.engine.state import Operation, Resident, Running, Stage, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.domain.model import ObservedResident

ARRIVAL_SECONDS = 0.02
"""What was just sent with a keep_alive must reach Ollama before a load makes it choose victims (OLLAMA.md 19)."""


def begin_load(
    state: State,
    wants: Running,
    model: str,
    victims: Sequence[str],
    cause: Cause,
    reason: str,
    at: float,
    request_id: int | None = None,
) -> None:
    """Begin to make room for a model and to load it; `request_id` is the request that it is done for, if any."""
    for victim in victims:
        state.residents[victim].leaving = cause if victim == model else Cause.EVICTION
    if others := sum(victim != model for victim in victims):
        state.usage.evicted(at, len(state.residents), others)
    operation = state.operation = Operation(Stage.UNLOADING, cause, reason, model, wants, deque(victims), request_id)
    if model not in victims:  # one that is only loaded anew has not come back
        state.usage.returns.loads(model)
    operation.began_at, operation.planned_for = at, (state.settings, frozenset(state.residents))
    state.explain(model, at, f"loaded: {reason}")
    advance(state, at)


def begin_clearing(state: State, model: str, cause: Cause, reason: str, at: float) -> None:
    """Begin to unload one model for which nothing is to be loaded now."""
    state.residents[model].leaving = cause
    state.operation = Operation(Stage.UNLOADING, cause, reason, victims=deque([model]))
    advance(state, at)


def advance(state: State, at: float) -> None:
    """Take the operation's next step."""
    operation = state.operation
    if operation is None:
        return
    if operation.abandoned:
        _end(state)
    elif state.touching:  # one that comes after an unload would load the model again; none may come after a load
        operation.stage = Stage.TOUCHING
    elif operation.victims:
        _unload_next(state, operation, at)
    elif operation.loads is None:
        _end(state)
    elif _is_out_of_date(state, operation):
        _end(state)  # admission, which follows every event, plans anew
    elif (pause := _pause(state, operation, at)) > 0:
        operation.stage = Stage.SETTLING
        state.emit(Settle(_free_needed(state, operation), pause))
    elif operation.model and not operation.in_order:  # Ollama may evict on its own, by what was written
        operation.in_order = True
        if not worth.surely_let_in(state, operation.model, operation.loads.options):
            keep_alive.restore_order(state, at)
        advance(state, at)
    else:
        _load(state, operation, at)


def _is_out_of_date(state: State, operation: Operation) -> bool:
    """Others came meanwhile, or other settings, and now there is no room beside who is there."""
    if operation.planned_for is None or operation.model is None or operation.loads is None:
        return False
    settings, counted = operation.planned_for
    if settings is state.settings and state.residents.keys() <= counted | {operation.model}:
        return False
    return not worth.has_place(state, operation.model, operation.loads.options)


def touched(state: State, at: float) -> None:
    """A touch is over."""
    if state.operation is not None and state.operation.stage is Stage.TOUCHING:
        advance(state, at)


def settled(state: State, at: float) -> None:
    """The memory of what was unloaded is free."""
    operation = state.operation
    if operation is not None and operation.stage is Stage.SETTLING:
        operation.settled_at = at
        advance(state, at)


def _unload_next(state: State, operation: Operation, at: float) -> None:
    resident = state.residents.get(operation.victims[0])
    if resident is None:  # it left by itself meanwhile
        operation.victims.popleft()
        advance(state, at)
        return
    operation.stage = Stage.UNLOADING
    state.explain(resident.model, at, f"{resident.leaving}: {operation.reason}")
    cause = resident.leaving or operation.cause
    settling.unload_begins(state, at)
    state.emit(Unload(resident.model, resident.shown, cause, operation.reason, operation.request_id))


def _load(state: State, operation: Operation, at: float) -> None:
    if operation.loads is None or operation.model is None:
        return
    operation.others_bytes = settling.others_bytes(state, operation, at)
    operation.page_cache_warm = worth.page_cache_warm(state, operation.model, at)
    operation.stage, operation.loading_at = Stage.LOADING, at
    settling.load_begins(state, operation, at)
    operation.keep_alive = max(1, keep_alive.decide(state, operation.model, at))
    facts = state.learnt(operation.model).facts
    state.emit(
        Load(
            operation.model,
            operation.loads.name,
            operation.loads.options,
            facts is not None and facts.embedding_only,
            operation.keep_alive,
            operation.reason,
            operation.request_id,
        )
    )


def unloaded(state: State, model: str, error: str | None, at: float) -> None:
    """An unload of ours is over."""
    state.changed(at)
    operation = state.operation
    if error is not None:
        if operation is not None and operation.victims and operation.victims[0] == model:
            fail(state, f"unloading {model}", error, at)
        return
    resident = state.residents.get(model)
    freed_bytes = resident.vram_bytes if resident is not None else 0
    settling.unload_ended(state, freed_bytes, at)
    if resident is not None:
        gone(state, resident, resident.leaving or Cause.UPSTREAM, at)
    if operation is not None and operation.victims and operation.victims[0] == model:
        operation.freed_bytes = freed_bytes
        operation.victims.popleft()
        advance(state, at)


def gone(state: State, resident: Resident, cause: Cause, at: float) -> None:
    """A model is no longer resident."""
    del state.residents[resident.model]
    learnt = state.learnt(resident.model)
    learnt.left_at = at
    verdicts.in_vain(state, resident.model, learnt)
    if cause in (Cause.EVICTION, Cause.ROOM_AHEAD, Cause.UPSTREAM):
        learnt.evicted_at = at
    state.emit(Left(resident.model, cause, resident.bytes))


def loaded(state: State, model: str, seconds: float, error: str | None, at: float) -> None:
    """A load of ours is over."""
    operation = state.operation
    state.changed(at)
    if operation is None or operation.model != model or operation.stage is not Stage.LOADING:
        return
    if error is not None or operation.loads is None:
        fail(state, f"loading {model}", error or "", at)
        return
    operation.stage, operation.load_seconds = Stage.VERIFYING, seconds
    size = worth.needed_bytes(state, model, operation.loads.options)
    state.residents[model] = Resident(
        model=model,
        shown=operation.loads.name,
        bytes=size,
        vram_bytes=size,
        last_used_at=at,
        runs=operation.loads,
        others_bytes=operation.others_bytes,
        written=operation.keep_alive,
        expires_at=at + operation.keep_alive,
        serving=state.in_flight_on(model),
        loaded_at=at,
        swap_seconds=at - operation.began_at,
    )
    if operation.abandoned:  # it is there all the same, and counts when room is made for the next one
        _end(state)


def verify(state: State, observed: ObservedResident | None, at: float) -> None:
    """Step 5 and 6: `/api/ps` was asked after the load; None: it does not show the model."""
    operation = state.operation
    if operation is None or operation.model is None or operation.loads is None:
        return
    resident = state.residents.get(operation.model)
    if observed is not None and resident is not None:
        spilled, seconds = observed.spilled_bytes, operation.load_seconds
        state.emit(Loaded(operation.model, operation.cause, seconds, observed.bytes, spilled, operation.request_id))
        if spilled and not operation.repaired and settling.should_have_fitted(state, operation, observed):
            _repair(state, operation, resident, spilled, at)
            return
        if spilled:
            resident.others_bytes = None  # the driver may have told Ollama too little (OLLAMA.md 18)
            state.budget = state.budget.with_spill(state.used_bytes())
            state.settling = operation.settle_before or state.settling  # settling longer did not help
        elif settling.needed_what_was_freed(state, operation):
            state.settling = state.settling.sufficed()
        if not operation.upstream_evicted:
            size = worth.file_bytes(state, operation.model)
            state.usage.loaded(operation.model, seconds, file_bytes=size, page_cache_warm=operation.page_cache_warm)
    state.operation = None
    serving.serve_waiting(state, operation.model, operation.loads, at)


def fail(state: State, what: str, error: str, at: float) -> None:
    """Give up the operation: whoever waited for it goes on as it came."""
    operation = state.operation
    if operation is None:
        return
    _end(state)
    model = operation.model or operation.victims[0]
    verdicts.in_vain(state, model, state.learnt(model))
    state.emit(ManagementFailed(model, what, error, operation.request_id))
    state.explain(model, at, f"management failed, {what}: {error}")
    for held in tuple(state.held.values()):
        if held.model == model:
            serving.pass_on(state, held, f"{what} failed: {error}", at)


def abandon(state: State) -> None:
    """Nothing is known of the residents any more: begin nothing further, but wait for what was begun to be reported."""
    operation = state.operation
    if operation is not None and operation.stage is Stage.VERIFYING:
        _end(state)
    elif operation is not None:
        operation.abandoned = True


def _end(state: State) -> None:
    state.operation = None
    for resident in state.residents.values():
        if resident.model not in state.to_clear:
            resident.leaving = None


def _repair(state: State, operation: Operation, resident: Resident, spilled: int, at: float) -> None:
    """The driver still counted what had left (OLLAMA.md 18): settle longer from now on, and load once more."""
    operation.settle_before, state.settling = state.settling, state.settling.too_short()
    operation.repaired, operation.stage, operation.cause = True, Stage.UNLOADING, Cause.SPILL
    operation.reason = f"{spilled / 2**30:.1f} GiB spilled to main memory although they should have fitted"
    resident.leaving = Cause.SPILL
    operation.victims.append(resident.model)
    state.explain(resident.model, at, f"loaded again: {operation.reason}; settling for {state.settling.seconds:.1f} s")
    advance(state, at)


def _pause(state: State, operation: Operation, at: float) -> float:
    settled_at = 0.0 if settling.fits_anyway(state, operation) else settling.settled_at(state, operation)
    arrived_at = state.last_write_at + ARRIVAL_SECONDS if state.residents else 0.0
    looked_at = settling.ollama_has_looked_at(state, operation.model or "")
    return max(0.0, max(settled_at, arrived_at, looked_at) - at)


def _free_needed(state: State, operation: Operation) -> int:
    if operation.model is None or operation.loads is None:
        return 0
    needed = worth.needed_bytes(state, operation.model, operation.loads.options)
    total = state.budget.total(state.settings)
    return needed if total is None else min(needed, total - state.used_bytes())
