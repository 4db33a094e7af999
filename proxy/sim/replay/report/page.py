"""Puts a comparison and its timelines together as one HTML page. Measures nothing."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from proxy.sim.replay.report.charts import COLOURS, Axis, lane_chart, line_chart, point_chart, time_axis
from proxy.sim.replay.table import comparison_table

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from proxy.sim.replay.comparison import Comparison
    from proxy.sim.replay.report.timeline import Timeline

_STYLE = """
:root { color-scheme: light dark; --text: #222; --soft: #8888; --back: #fff; --bar: #4269d0; }
@media (prefers-color-scheme: dark) { :root { --text: #ddd; --back: #16181c; --bar: #6f8fe8; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); margin: 2rem auto;
  max-width: 960px; padding: 0 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin-top: 2rem; }
pre { overflow-x: auto; font-size: 12px; } svg { width: 100%; height: auto; }
text { font: 11px system-ui, sans-serif; fill: var(--text); }
.end { text-anchor: end; } .middle { text-anchor: middle; }
.grid { stroke: var(--soft); stroke-width: .5; } .bar { fill: var(--bar); } .line { fill: none; stroke-width: 1.8; }
.front { fill: none; stroke: var(--soft); stroke-dasharray: 4 3; }
"""
_PALETTE = (
    *("#4269d0", "#efb118", "#ff725c", "#3ca951", "#a463f2"),
    *("#9c6b4e", "#97bbf5", "#ff8ab7", "#6cc5b0", "#9498a0"),
)


def page(
    headline: str,
    notes: Sequence[str],
    comparison: Comparison,
    timelines: Sequence[Timeline],
    residencies: Collection[str],
) -> str:
    """Write the page.

    Args:
        headline: what a person wants to know, in a sentence.
        notes: what has to be known to read it.
        comparison: the figures.
        timelines: one for each contender whose waiting is drawn.
        residencies: names of the contenders whose residents are drawn too.
    """
    sections = [
        ("Waiting over time, all requests together", _waiting(timelines)),
        ("Memory held against waiting", _pareto(comparison)),
        *((f"In memory with {one.name}", _residency(one)) for one in timelines if one.name in residencies),
        ("All figures", f"<pre>{escape(comparison_table(comparison))}</pre>"),
    ]
    body = "".join(f"<h2>{escape(title)}</h2>{content}" for title, content in sections)
    remarks = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>keepwarm replay</title>'
        f"<style>{_STYLE}{_colours()}</style></head><body><h1>{escape(headline)}</h1>{remarks}{body}</body></html>\n"
    )


def _colours() -> str:
    return "".join(
        f".c{number} {{ stroke: {colour}; }} .d{number}, .t{number} {{ fill: {colour}; }}\n"
        for number, colour in zip(range(COLOURS), _PALETTE, strict=True)
    )


def _waiting(timelines: Sequence[Timeline]) -> str:
    most = max(one.waited[-1][1] for one in timelines)
    across = time_axis("time since the first request", timelines[0].span_seconds)
    return line_chart({one.name: one.waited for one in timelines}, across, time_axis("waited", most))


def _residency(timeline: Timeline) -> str:
    busiest = sorted(timeline.stays, key=lambda model: -timeline.requests[model])
    lanes = {f"{model} ({timeline.requests[model]} requests)": timeline.stays[model] for model in busiest}
    return lane_chart(lanes, time_axis("time since the first request", timeline.span_seconds))


def _pareto(comparison: Comparison) -> str:
    points = {
        name: (comparison.mean(name, "gib_hours").mean, comparison.mean(name, "mean_wait").mean)
        for name in comparison.figures
    }
    held, waited = (max(point[side] for point in points.values()) for side in (0, 1))
    across = Axis("GiB·h held", max(held, 0.1), "{:g}".format)
    return point_chart(points, across, time_axis("mean wait per request", waited))
