import re

from proxy.sim.replay.comparison import compare
from proxy.sim.replay.report import page, timeline
from tests.unit.sim.replay.test_comparison import PLAN

COMPARISON = compare(PLAN, ["lru", "adaptive"], [1, 2], jobs=1)
PAGE = page(
    "People <wait> less", ["a note"], COMPARISON, [timeline(PLAN, name, 1) for name in COMPARISON.figures], ["adaptive"]
)


def test_the_page_needs_nothing_from_elsewhere():
    assert not re.search(r"https?://|<script|<link|<img|@import|url\(", PAGE)


def test_it_has_a_headline_plots_and_all_figures():
    assert "<h1>People &lt;wait&gt; less</h1><p>a note</p>" in PAGE
    titles = re.findall("<h2>([^<]*)</h2>", PAGE)
    assert titles == [
        "Waiting over time, all requests together",
        "Memory held against waiting",
        "In memory with adaptive",
        "All figures",
    ]
    assert PAGE.count("<svg") == 3
    assert "bound on demand" in PAGE


def test_the_same_replay_gives_the_same_page():
    again = compare(PLAN, ["lru", "adaptive"], [1, 2], jobs=1)
    timelines = [timeline(PLAN, name, 1) for name in again.figures]
    assert page("People <wait> less", ["a note"], again, timelines, ["adaptive"]) == PAGE
