"""Shows who waits for what, and what is being loaded for them. Changes nothing, and lets nobody through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.domain.snapshot import LoadSnapshot, WaitSnapshot
from proxy.engine import worth
from proxy.engine.state import Stage

if TYPE_CHECKING:
    from proxy.engine.state import State


def waits(state: State) -> tuple[WaitSnapshot, ...]:
    """Return the held requests, those for one model together, the longest wait first."""
    arrivals: dict[str, list[float]] = {}
    for held in state.held.values():
        arrivals.setdefault(held.model, []).append(held.arrived_at)
    shown = [WaitSnapshot(model, len(each), min(each), _reason(state, model)) for model, each in arrivals.items()]
    return tuple(sorted(shown, key=lambda wait: wait.since))


def loading(state: State, at: float) -> LoadSnapshot | None:
    """Return the load that is under way, None if there is none."""
    operation = state.operation
    if operation is None or operation.model is None or operation.loads is None or operation.stage is not Stage.LOADING:
        return None
    size = worth.needed_bytes(state, operation.model, operation.loads.options)
    expected_seconds = worth.load_seconds(state, operation.model, at)
    return LoadSnapshot(operation.model, size, operation.loading_at, expected_seconds)


def _reason(state: State, model: str) -> str:
    operation = state.operation
    if operation is None:
        busy = " and ".join(sorted(state.draining))
        return f"until {busy} can leave: busy now" if busy else "to be let through"
    if operation.stage is Stage.UNLOADING and operation.victims:
        doing = f"unloading {operation.victims[0]}"
    elif operation.stage is Stage.SETTLING:
        doing = "until the memory just given back is free"
    elif operation.stage is Stage.LOADING:
        doing = "loading"
    else:
        doing = str(operation.stage)
    return doing if operation.model in (None, model) else f"{operation.model} comes first: {doing}"
