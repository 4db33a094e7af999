"""Words for `keepwarm status`: a table like that of `ollama ps`. Reads nothing, prints nothing."""

from __future__ import annotations

import calendar
from datetime import date
from typing import Any

from proxy.domain.units import format_bytes, format_duration

_HEAD = ("MODEL", "SIZE", "NOW", "KEPT", "USES/H", "LOAD", "WORTH", "WHY")
_WEEK = 7
_MINUTE_SECONDS = 60


def status_table(state: dict[str, Any]) -> str:
    """Return the residents of `/state` as a table, with a line about the memory above it."""
    rows = [_HEAD, *(_row(resident, state["at"]) for resident in state["residents"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    saved = [saved_words(state["saved"])] if state.get("saved") else []
    return "\n".join([_memory(state), *saved, *lines])


def saved_words(saved: dict[str, Any]) -> str:
    """Return in a sentence what people waited and would have waited for Ollama alone, whoever did better."""
    days, waited, alone = saved["days"], _spoken(saved["waited_seconds"]), _spoken(saved["alone_seconds"])
    first = date.fromisoformat(days[0]["day"])
    since = "Today" if len(days) == 1 else f"Since {calendar.day_name[first.weekday()]}"
    if waited == alone:
        return f"{since} you waited {waited} for models, as long as it would have been with Ollama's default."
    only = "only " if saved["seconds"] < 0 else ""
    text = f"{since} you waited {waited} for models; with Ollama's default it would have been {only}{alone}."
    if saved["seconds"] < 0 and len(days) == _WEEK:
        text += " For a week now, Ollama alone would have done better: `keepwarm recommend` says what to change."
    return text


def _spoken(seconds: float) -> str:
    """'41 min', '2 h 10 min': as one says it, no finer than matters."""
    minutes = round(seconds / 60)
    if seconds < _MINUTE_SECONDS - 0.5:
        return f"{seconds:.0f} s"
    hours, rest = divmod(minutes, 60)
    return f"{minutes} min" if not hours else f"{hours} h {rest} min" if rest else f"{hours} h"


def _memory(state: dict[str, Any]) -> str:
    budget = state["budget_bytes"]
    of = "of an unknown budget" if budget is None else f"of {format_bytes(budget)}"
    upstream = "" if state["upstream_known"] else "; Ollama does not answer, requests pass as they come"
    waiting = f"; {state['waiting']} waiting" if state["waiting"] else ""
    doing = f"; {state['operation']}" if state["operation"] else ""
    return f"{format_bytes(state['used_bytes'])} {of} used ({state['budget_source']}){waiting}{doing}{upstream}"


def _row(resident: dict[str, Any], now: float) -> tuple[str, ...]:
    kept_until, worth = resident["kept_until"], resident["worth"]
    spilled = resident["bytes"] - resident["vram_bytes"]
    size = format_bytes(resident["bytes"]) + (f" ({format_bytes(spilled)} not on the GPU)" if spilled > 0 else "")
    return (
        resident["model"],
        size,
        f"busy ({resident['busy']})" if resident["busy"] else "idle",
        "for ever" if kept_until is None else format_duration(max(0, round(kept_until - now))),
        f"{resident['uses_per_hour']:.1f}",
        "" if resident["load_seconds"] is None else f"{resident['load_seconds']:.1f} s",
        "" if worth is None else f"{format_duration(round(worth, 3))}/GiB·h",
        resident["reason"],
    )
