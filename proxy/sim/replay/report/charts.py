"""Plots as inline SVG: lines over time, bars in lanes, points with names. Knows nothing of replays."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from math import floor, log10
from typing import TYPE_CHECKING

from proxy.domain.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

COLOURS = 10

_WIDTH, _HEIGHT = 900.0, 340.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 70.0, 130.0, 24.0, 40.0
_LANE, _LANE_LABEL = 18.0, 220.0
_LABEL_HEIGHT = 13.0
_TICKS = 5
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
_DURATIONS = (
    *(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0),
    *(_MINUTE * count for count in (1, 2, 5, 10, 30)),
    *(_HOUR * count for count in (1, 2, 3, 6, 12)),
    *(_DAY * count for count in (1, 2, 5, 10, 20, 50)),
)

if TYPE_CHECKING:
    Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis, from 0 on.

    Attributes:
        label: what it says.
        end: its last value, > 0.
        write: how a value is written.
        steps: between two marks, ascending; beyond them and where there are none, round decimal numbers.
    """

    label: str
    end: float
    write: Callable[[float], str]
    steps: tuple[float, ...] = ()

    def ticks(self) -> list[float]:
        """Values to be marked, at most six."""
        rough = self.end / _TICKS
        unit = 10.0 ** floor(log10(rough))
        step = next(step for step in (*self.steps, unit, 2 * unit, 5 * unit, 10 * unit) if step >= rough)
        return [step * number for number in range(int(self.end / step) + 1)]


def time_axis(label: str, seconds: float) -> Axis:
    """An axis of seconds, marked in round durations; of at least a tenth of a second."""
    return Axis(label, max(0.1, seconds), _duration, _DURATIONS)


def line_chart(lines: Mapping[str, Points], across: Axis, up: Axis) -> str:
    """Draw a line for each name, which stands at its end."""
    parts = [_axes(across, up)]
    heights = _apart([_y(up, points[-1][1]) for points in lines.values()])
    for number, ((name, points), height) in enumerate(zip(lines.items(), heights, strict=True)):
        parts.append(f'<polyline class="line c{number % COLOURS}" points="{_path(points, across, up)}"/>')
        parts.append(_text(_WIDTH - _RIGHT + 6, height + 4, name, f"start t{number % COLOURS}"))
    return _svg(_HEIGHT, parts, f"{up.label} by {across.label}")


def lane_chart(lanes: Mapping[str, Points], across: Axis) -> str:
    """Draw a lane for each name with bars (from, until)."""
    bottom = _TOP + _LANE * len(lanes)
    scale = (_WIDTH - _LANE_LABEL - 20) / across.end
    parts = []
    for tick in across.ticks():
        x = _LANE_LABEL + tick * scale
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}"/>')
        parts.append(_text(x, bottom + 16, across.write(tick), "middle"))
    for number, (name, bars) in enumerate(lanes.items()):
        y = _TOP + _LANE * number
        parts.append(_text(_LANE_LABEL - 8, y + 13, name, "end"))
        parts += [
            f'<rect class="bar" x="{_LANE_LABEL + since * scale:.1f}" y="{y + 3:.1f}"'
            f' width="{max(0.5, (until - since) * scale):.1f}" height="{_LANE - 6:.1f}"/>'
            for since, until in bars
        ]
    return _svg(bottom + 26, parts, f"lanes by {across.label}")


def point_chart(points: Mapping[str, tuple[float, float]], across: Axis, up: Axis) -> str:
    """Draw a named point each, and a line along those that no other beats in both."""
    front = sorted(
        point
        for point in points.values()
        if not any(x <= point[0] and y <= point[1] and (x, y) != point for x, y in points.values())
    )
    parts = [_axes(across, up), f'<polyline class="front" points="{_path(front, across, up)}"/>']
    heights = _apart([_y(up, y) for _, y in points.values()])
    for number, ((name, (x, y)), height) in enumerate(zip(points.items(), heights, strict=True)):
        at, colour = _x(across, x), number % COLOURS
        parts.append(f'<circle class="d{colour}" cx="{at:.1f}" cy="{_y(up, y):.1f}" r="4"/>')
        parts.append(_text(at + 8, height + 4, name, f"start t{colour}"))
    return _svg(_HEIGHT, parts, f"{up.label} by {across.label}")


def _svg(height: float, parts: Sequence[str], title: str) -> str:
    body = "".join(parts)
    return f'<svg viewBox="0 0 {_WIDTH:.0f} {height:.0f}" role="img"><title>{escape(title)}</title>{body}</svg>'


def _axes(across: Axis, up: Axis) -> str:
    parts = []
    for tick in up.ticks():
        y = _y(up, tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(_LEFT - 6, y + 4, up.write(tick), "end"))
    below = _HEIGHT - _BOTTOM + 16
    parts += [_text(_x(across, tick), below, across.write(tick), "middle") for tick in across.ticks()]
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, across.label, "middle"))
    parts.append(_text(_LEFT, _TOP - 10, up.label, "start"))
    return "".join(parts)


def _path(points: Points, across: Axis, up: Axis) -> str:
    return " ".join(f"{_x(across, x):.1f},{_y(up, y):.1f}" for x, y in points)


def _x(axis: Axis, value: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * value / axis.end


def _y(axis: Axis, value: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / axis.end


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _duration(seconds: float) -> str:
    return f"{seconds / _DAY:g}d" if seconds >= _DAY and seconds % _DAY == 0 else format_duration(seconds)


def _apart(heights: Sequence[float]) -> list[float]:
    """Heights for labels that do not cover each other, from the top downwards."""
    placed = list(heights)
    last = float("-inf")
    for index in sorted(range(len(placed)), key=placed.__getitem__):
        last = placed[index] = max(placed[index], last + _LABEL_HEIGHT)
    return placed
