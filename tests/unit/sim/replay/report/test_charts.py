import re
from xml.etree import ElementTree as ET

import pytest

from proxy.sim.replay.report.charts import Axis, lane_chart, line_chart, point_chart, time_axis

ACROSS, UP = time_axis("time", 7200.0), Axis("seconds", 10.0, "{:g}".format)


def texts(svg):
    return [element.text for element in ET.fromstring(svg).iter("text")]  # noqa: S314 - our own


def test_a_line_for_each_name_that_stays_within_the_picture():
    svg = line_chart({"a": [(0, 0), (7200, 10)], "b": [(0, 0), (7200, 9.9)]}, ACROSS, UP)
    lines = re.findall(r'points="([^"]*)"', svg)
    assert len(lines) == 2
    points = [tuple(map(float, point.split(","))) for line in lines for point in line.split()]
    assert all(0 <= x <= 900 and 0 <= y <= 340 for x, y in points)
    assert points[0][1] > points[1][1]  # more is further up
    assert {"a", "b", "time", "seconds", "30m", "2h"} <= set(texts(svg))


def test_labels_do_not_cover_each_other():
    svg = line_chart({name: [(0, 0), (7200, 5.0)] for name in "abc"}, ACROSS, UP)
    heights = [float(y) for y in re.findall(r'class="start t\d" x="[\d.]+" y="([\d.]+)"', svg)]
    assert sorted(heights) == pytest.approx([heights[0], heights[0] + 13, heights[0] + 26])


def test_a_lane_for_each_name_with_its_bars():
    svg = lane_chart({"a": [(0, 3600), (5000, 5001)], "b": []}, ACROSS)
    widths = [float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', svg)]
    assert widths == [pytest.approx((900 - 240) / 2), 0.5]  # half of the time; too short to be seen otherwise
    assert {"a", "b"} <= set(texts(svg))


def test_the_front_goes_through_what_nothing_beats():
    svg = point_chart({"a": (1, 9), "beaten": (6, 9.5), "b": (5, 2)}, Axis("x", 10, str), UP)
    assert len(re.findall("<circle", svg)) == 3
    [front] = re.findall(r'class="front" points="([^"]*)"', svg)
    assert len(front.split()) == 2


def test_names_are_text_and_never_markup():
    svg = lane_chart({"<script>&": [(0, 1)]}, ACROSS)
    assert "<script>" not in svg
    assert "<script>&" in texts(svg)


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (Axis("x", 10.0, str), [0, 2, 4, 6, 8, 10]),
        (Axis("x", 0.7, str), [0, 0.2, 0.4, 0.6]),
        (time_axis("t", 3600.0), [0, 1800, 3600]),
        (time_axis("t", 90 * 86400.0), [0, 20 * 86400, 40 * 86400, 60 * 86400, 80 * 86400]),
        (time_axis("t", 0.0), [0]),
    ],
)
def test_marks_are_few_and_round(axis, ticks):
    assert axis.ticks()[: len(ticks)] == pytest.approx(ticks)
    assert len(axis.ticks()) <= 6


def test_days_are_written_as_days():
    assert [time_axis("t", 1.0).write(seconds) for seconds in (86400.0, 3600.0, 90000.0)] == ["1d", "1h", "25h"]
