"""A comparison as a table for a terminal. Measures nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.sim.replay.comparison import Comparison, Estimate

_HEAD = (
    *("contender", "waiting of Ollama's", "of bound", "loading of Ollama's", "loads"),
    *("load s", "mean wait s", "p95 s", "p99 s", "GiB·h held", "spills", "failed"),
)
_PLAIN = (("loads", 0), ("load_seconds", 0), ("mean_wait", 3), ("p95_wait", 2), ("p99_wait", 2))
_COUNTED = (("gib_hours", 0), ("spills", 1), ("errors", 1))


def comparison_table(comparison: Comparison) -> str:
    """Write a line for each contender and each bound; figures are means over the workloads.

    Ratios are to Ollama with its defaults and the same workload; of several workloads with a 95 % interval.
    `of bound` is the waiting by what even the best loads on demand take; there are bounds only for requests one after
    another.
    """
    lines: list[Sequence[str]] = [_HEAD, *(_line(comparison, name) for name in comparison.figures)]
    if comparison.bounds:
        lines += [
            _bound_line(comparison, "bound on demand", "load_seconds", "load_seconds"),
            _bound_line(comparison, "bound ahead of use", "ahead_wait_seconds", "ahead_load_seconds"),
        ]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines
    )


def ratio(estimate: Estimate) -> str:
    """Write a ratio with its interval: '0.71 [0.66 0.75]'."""
    interval = f" [{estimate.low:.2f} {estimate.high:.2f}]" if estimate.low < estimate.high else ""
    return f"{estimate.mean:.2f}{interval}"


def _line(comparison: Comparison, name: str) -> Sequence[str]:
    return (
        name,
        ratio(comparison.relative(name)),
        f"{comparison.to_bound(name).mean:.2f}" if comparison.bounds else "",
        ratio(comparison.relative(name, "load_seconds")),
        *(f"{comparison.mean(name, figure).mean:.{digits}f}" for figure, digits in (*_PLAIN, *_COUNTED)),
    )


def _bound_line(comparison: Comparison, title: str, waiting: str, loading: str) -> Sequence[str]:
    of_waiting, of_loading = comparison.bound(waiting), comparison.bound(loading, "load_seconds")
    seconds = sum(getattr(bounds, loading) for bounds in comparison.bounds) / len(comparison.bounds)
    nothing = ("",) * (len(_HEAD) - 6)
    return title, ratio(of_waiting), "", ratio(of_loading), "", f"{seconds:.0f}", *nothing
