"""Panels about GPU memory: what is in it, who is resident, what did not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana.panels import About, Column, areas, dashed, lines, rows
from grafana.queries import Query

if TYPE_CHECKING:
    from grafana.panels import Panel

_FOR_EVER_SECONDS = 3e9  # more than any keep_alive that Ollama takes; +Inf too


def memory_now() -> Panel:
    """Budget, used by model, headroom."""
    about = About(
        title="What is in GPU memory?",
        unit="bytes",
        shows="Memory on the GPU by model, what is free of the budget on top of it, and the budget as a dashed line.",
        good="full of models that are used: idle memory earns nothing, unless you want it back (`memory.price`).",
        bad="areas above the line: something beside keepwarm uses the GPU.",
        do="see who is resident and why; lower `memory.budget` if other programs need the GPU.",
        width=12,
        height=9,
    )
    panel = areas(
        about,
        Query("sum by (model) (keepwarm_resident_vram_bytes)", "{{model}}"),
        Query("clamp_min(sum(keepwarm_memory_headroom_bytes), 0)", "free"),
        Query("sum(keepwarm_memory_budget_bytes)", "budget"),
    )
    return dashed(panel, "budget", "red")


def residents_now() -> Panel:
    """Each resident with its countdown."""
    about = About(
        title="Who is resident now, and for how long?",
        unit="none",
        shows="The resident models. Time left: until Ollama unloads it when idle. Worth: seconds of waiting that "
        "keeping it saves per GiB·hour, to be compared with `memory.price`. A click leads to the model's page.",
        good="the models that people use, each whole on the GPU.",
        bad="less on the GPU than its size: it spilled and is slow. One that nobody uses: something asks for it.",
        do="spilled: runbook KeepwarmSpill. Unused: a rule with a shorter `keep_alive`.",
        width=16,
        height=9,
        empty="no model is resident",
    )
    return rows(
        about,
        (
            Column("Size", "bytes", _now("sum by (model) (keepwarm_resident_bytes)")),
            Column("On the GPU", "bytes", _now("sum by (model) (keepwarm_resident_vram_bytes)")),
            Column("Busy with", "none", _now("sum by (model) (keepwarm_resident_busy_requests)")),
            Column("Time left", "dtdurations", _now("min by (model) (keepwarm_resident_expiry_seconds)"), _FOR_EVER),
            Column("Worth", "s", _now("max by (model) (keepwarm_resident_worth_seconds)")),
        ),
    )


def spilled() -> Panel:
    """What is not on the GPU."""
    about = About(
        title="What does not fit on the GPU?",
        unit="bytes",
        shows="The part of resident models that is in main memory.",
        good="nothing.",
        bad="any: such a model answers 5 to 20 times slower.",
        do="runbook KeepwarmSpill.",
        empty="everything is on the GPU",
    )
    expr = "sum by (model) (keepwarm_resident_bytes - keepwarm_resident_vram_bytes) > 0"
    return lines(about, Query(expr, "{{model}}"))


_FOR_EVER = (_FOR_EVER_SECONDS, "for ever")


def _now(expr: str) -> Query:
    return Query(expr, now=True)
