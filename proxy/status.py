"""Words for `keepwarm status`: a table like that of `ollama ps`. Reads nothing, prints nothing."""

from __future__ import annotations

from typing import Any

from proxy.domain.units import format_bytes, format_duration

_HEAD = ("MODEL", "SIZE", "NOW", "KEPT", "USES/H", "LOAD", "WORTH", "WHY")


def status_table(state: dict[str, Any]) -> str:
    """Return the residents of `/state` as a table, with a line about the memory above it."""
    rows = [_HEAD, *(_row(resident, state["at"]) for resident in state["residents"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([_memory(state), *lines])


def _memory(state: dict[str, Any]) -> str:
    budget = state["budget_bytes"]
    of = "of an unknown budget" if budget is None else f"of {format_bytes(budget)}"
    upstream = "" if state["upstream_known"] else "; Ollama does not answer, requests pass as they come"
    waiting = f"; {state['waiting']} waiting" if state["waiting"] else ""
    doing = f"; {state['operation']}" if state["operation"] else ""
    return f"{format_bytes(state['used_bytes'])} {of} used ({state['budget_source']}){waiting}{doing}{upstream}"


def _row(resident: dict[str, Any], now: float) -> tuple[str, ...]:
    expires_at, worth = resident["expires_at"], resident["worth"]
    spilled = resident["bytes"] - resident["vram_bytes"]
    size = format_bytes(resident["bytes"]) + (f" ({format_bytes(spilled)} not on the GPU)" if spilled > 0 else "")
    return (
        resident["model"],
        size,
        f"busy ({resident['busy']})" if resident["busy"] else "idle",
        "for ever" if expires_at is None else format_duration(max(0, round(expires_at - now))),
        f"{resident['uses_per_hour']:.1f}",
        "" if resident["load_seconds"] is None else f"{resident['load_seconds']:.1f} s",
        "" if worth is None else f"{format_duration(round(worth, 3))}/GiB·h",
        resident["reason"],
    )
