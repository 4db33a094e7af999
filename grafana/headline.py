"""The six numbers at the top of the overview."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana.panels import GREEN, RED, YELLOW, About, number, yes_or_no
from grafana.queries import RATE, SHOWN, Query, quantile

if TYPE_CHECKING:
    from grafana.panels import Panel

_ANSWERED = 'outcome=~"warm|cold"'


def headline() -> tuple[Panel, ...]:
    """Return them from left to right; together they are as wide as the screen."""
    return _upstream(), _requests(), _cold(), _first_byte(), _waited(), _headroom()


def cold_share(width: int, do: str) -> Panel:
    """The share of requests that wait for a load, over all of the time shown."""
    about = About(
        title="What share waits for a load?",
        unit="percentunit",
        shows="Cold requests among those that were answered, over all of the time shown.",
        good="below 5 %.",
        bad="above 20 %: models come and go.",
        do=do,
        width=width,
        height=4,
        empty="no requests",
    )
    cold, answered = (
        f"sum(increase(keepwarm_requests_total{{{which}}}{SHOWN}))" for which in ('outcome="cold"', _ANSWERED)
    )
    query = Query(f"{cold} / ({answered} > 0)", now=True)
    return number(about, query, (None, GREEN), (0.05, YELLOW), (0.2, RED))


def _upstream() -> Panel:
    about = About(
        title="Does Ollama answer?",
        unit="none",
        shows="Whether Ollama answered when it was last asked for its models.",
        good="yes.",
        bad="no: every request fails until Ollama is back.",
        do="look at Ollama's log; keepwarm recovers by itself (runbook KeepwarmUpstreamDown).",
        width=3,
        height=4,
        empty="no data",
    )
    return yes_or_no(about, Query("min(keepwarm_upstream_up)", now=True), "yes", "no")


def _requests() -> Panel:
    about = About(
        title="Requests per second",
        unit="reqps",
        shows="Model requests that were answered, failed or given up, over the last minutes.",
        good="what you expect of your clients.",
        bad="0 while people are working: they do not come through keepwarm.",
        do="check that clients use keepwarm's port, not Ollama's.",
        width=4,
        height=4,
        empty="none yet",
    )
    return number(about, Query(f"sum(rate(keepwarm_requests_total{RATE}))", now=True))


def _cold() -> Panel:
    return cold_share(4, "see below which model costs waiting; give it more memory, a `weight`, or a `pin`.")


def _first_byte() -> Panel:
    about = About(
        title="First byte, for 95 %",
        unit="s",
        shows="95 % of all warm and cold requests of the time shown had their first byte sooner.",
        good="about what a warm request takes.",
        bad="seconds: cold starts, or an overloaded GPU.",
        do="compare warm and cold below: only the cold ones are keepwarm's to improve.",
        width=4,
        height=4,
        empty="no requests",
    )
    return number(about, Query(quantile(0.95, "keepwarm_ttft_seconds", _ANSWERED, SHOWN), now=True))


def _waited() -> Panel:
    about = About(
        title="Waited for loads, per hour",
        unit="s",
        shows="Seconds that people waited for loads, all together, per hour of the time shown.",
        good="little against the time that people use models.",
        bad="minutes per hour.",
        do="find the models that cost most below; see on Decisions why they had left.",
        width=4,
        height=4,
        empty="no cold request",
    )
    return number(about, Query(f"3600 * sum(rate(keepwarm_load_wait_seconds_sum{SHOWN}))", now=True))


def _headroom() -> Panel:
    about = About(
        title="GPU memory free of the budget",
        unit="bytes",
        shows="What models may still take. Little is not bad in itself: memory is there to be used.",
        good="any value while few requests wait for a load.",
        bad="below 0: something beside keepwarm fills the GPU.",
        do="if it is below 0, find who else uses the GPU, or lower `memory.budget`.",
        width=5,
        height=4,
        empty="budget not known yet",
    )
    return number(about, Query("sum(keepwarm_memory_headroom_bytes)", now=True), (None, RED), (0, GREEN))
