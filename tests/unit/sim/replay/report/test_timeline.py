import pytest

from proxy.sim.replay.comparison import compare
from proxy.sim.replay.report import timeline
from tests.unit.sim.replay.test_comparison import PLAN


def test_the_timeline_tells_what_the_comparison_measured():
    [figures] = compare(PLAN, [], [1], jobs=1).figures["ollama"]
    drawn = timeline(PLAN, "ollama", 1)
    assert drawn.waited[-1] == (drawn.span_seconds, pytest.approx(figures.wait_seconds))
    assert [waited for _, waited in drawn.waited] == sorted(waited for _, waited in drawn.waited)
    assert sum(drawn.requests.values()) == figures.requests


def test_models_are_in_memory_when_they_were_asked_for():
    drawn = timeline(PLAN, "lru", 1)
    slot = drawn.span_seconds / 800
    for arrival in PLAN.source.of(1).arrivals:
        stays = drawn.stays[f"m{arrival.model}:x"]
        assert any(since - slot <= arrival.at + 12 and arrival.at <= until + slot for since, until in stays)


def test_stays_do_not_overlap_and_stay_within_the_time():
    for stays in timeline(PLAN, "adaptive", 1).stays.values():
        edges = [edge for stay in stays for edge in stay]
        assert edges == sorted(edges)
        assert all(0 <= edge <= 2900 + 1e-6 for edge in edges)
