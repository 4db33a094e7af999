"""The table and the goals of `make bench`, from the medians of each contender. Measures nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Figures = dict[str, float]

DIRECT, BARE, KEEPWARM = "direct", "bare relay", "keepwarm"
_ADDED_P50_MS = 0.3
_LATER_P99_MS = 2.0
_RATE_RATIO = 0.8


@dataclass(frozen=True, slots=True)
class _Column:
    group: str
    title: str
    form: str
    value: Callable[[Figures, Figures, Figures], float]  # of the contender, direct, the bare relay


_COLUMNS = (
    _Column("one connection, ms", "p50", ".3f", lambda own, _, __: own["alone_p50"] * 1e3),
    _Column("", "p99", ".3f", lambda own, _, __: own["alone_p99"] * 1e3),
    _Column("", "added p50", ".3f", lambda own, direct, _: _added_ms(own, direct)),
    _Column("", "2 cores", ".3f", lambda own, direct, _: (own["apart_p50"] - direct["apart_p50"]) * 1e3),
    _Column("64 connections", "req/s", ",.0f", lambda own, _, __: own["rate"]),
    _Column("", "CPU us", ",.0f", lambda own, _, __: own["cpu_per_request"] * 1e6),
    _Column("", "of direct", ".2f", lambda own, direct, _: own["rate"] / direct["rate"]),
    _Column("", "of bare", ".2f", lambda own, _, bare: own["rate"] / bare["rate"]),
    _Column("64 streams, first chunk ms", "p50", ".2f", lambda own, _, __: own["first_p50"] * 1e3),
    _Column("", "p99", ".2f", lambda own, _, __: own["first_p99"] * 1e3),
    _Column("", "p99 later", ".2f", lambda own, direct, _: _later_ms(own, direct)),
    _Column("big stream", "MB/s", ",.0f", lambda own, _, __: own["bytes_per_second"] / 1e6),
    _Column("", "of bare", ".2f", lambda own, _, bare: own["bytes_per_second"] / bare["bytes_per_second"]),
)


def table(medians: Mapping[str, Figures]) -> str:
    """One line per contender, with the differences to direct and the ratios to the bare relay."""
    direct, bare = medians[DIRECT], medians[BARE]
    groups = titles = " " * 12
    for column in _COLUMNS:
        if column.group:
            groups = f"{groups:<{len(titles)}}    {column.group}"
        titles += f"{column.title:>10}"
    lines = [groups, titles]
    for name, own in medians.items():
        values = (f"{column.value(own, direct, bare):>10{column.form}}" for column in _COLUMNS)
        lines.append(f"{name:<12}" + "".join(values))
    return "\n".join(lines)


def goals(medians: Mapping[str, Figures]) -> str:
    """Which of the three goals hold."""
    direct, bare, own = medians[DIRECT], medians[BARE], medians[KEEPWARM]
    added, later, ratio = _added_ms(own, direct), _later_ms(own, direct), own["rate"] / bare["rate"]
    return "\n".join(
        f"{'holds' if holds else 'MISSED'}: {figure}"
        for holds, figure in (
            (added <= _ADDED_P50_MS, f"alone, p50 is {added:.3f} ms above direct (goal: at most {_ADDED_P50_MS})"),
            (later <= _LATER_P99_MS, f"64 streams, first chunk p99 is {later:.2f} ms later (at most {_LATER_P99_MS})"),
            (ratio >= _RATE_RATIO, f"requests/s are {ratio:.2f} of the bare relay's (at least {_RATE_RATIO})"),
        )
    )


def _added_ms(own: Figures, direct: Figures) -> float:
    return (own["alone_p50"] - direct["alone_p50"]) * 1e3


def _later_ms(own: Figures, direct: Figures) -> float:
    return (own["first_p99"] - direct["first_p99"]) * 1e3
