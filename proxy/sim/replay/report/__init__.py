"""The page of a replay: one HTML file with plots, without scripts and without anything from elsewhere."""

from proxy.sim.replay.report.page import page
from proxy.sim.replay.report.timeline import Timeline, timeline

__all__ = ["Timeline", "page", "timeline"]
