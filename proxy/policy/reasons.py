"""Why a decision about room was taken, in plain English with numbers. Never takes one."""

from collections.abc import Iterable

from proxy.domain.units import format_bytes, format_duration
from proxy.policy.memory import Memory, Need, Resident


def leaving(memory: Memory, need: Need, victims: Iterable[Resident]) -> str:
    """Name each victim with the numbers that spoke against it; without victims, say why nobody has to leave."""
    lines = [_leaves(resident) for resident in victims]
    if memory.budget_bytes is not None and need.bytes > memory.budget_bytes:
        size, budget = format_bytes(need.bytes), format_bytes(memory.budget_bytes)
        lines.insert(0, f"{need.model} ({size}) is bigger than the budget of {budget} and is served alone")
    return "; ".join(lines) or f"nobody leaves: {_state(memory)}, {format_bytes(need.bytes)} wanted"


def no_room(memory: Memory, need: Need) -> str:
    """Say that pinned models are in the way, and which."""
    pinned = ", ".join(sorted(resident.model for resident in memory.residents if resident.pinned))
    return f"no room for {need.model} ({format_bytes(need.bytes)}): {_state(memory)}, pinned: {pinned}"


def _leaves(resident: Resident) -> str:
    loss, reload = format_duration(resident.loss_seconds), format_duration(resident.load_seconds)
    busy = f", busy for {format_duration(resident.remaining_seconds)} more" if resident.busy else ""
    idle = format_duration(resident.idle_seconds)
    return f"{resident.model} leaves: expected loss {loss}, reload {reload}, idle {idle}{busy}"


def _state(memory: Memory) -> str:
    loaded = f"{len(memory.residents)} of at most {memory.max_models} models loaded"
    if memory.budget_bytes is None:
        return loaded
    free_bytes = memory.budget_bytes - sum(resident.bytes for resident in memory.residents)
    return f"{loaded}, {format_bytes(max(0, free_bytes))} of {format_bytes(memory.budget_bytes)} free"
