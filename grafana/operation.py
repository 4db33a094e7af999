"""The dashboard of the proxy itself: what it adds, what it takes, and whether everything around it is well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana.board import Row, board
from grafana.panels import GREEN, RED, YELLOW, About, areas, bars, lines, number, right_axis, spread, yes_or_no
from grafana.queries import RATE, SHOWN, Query, quantile

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import Dashboard

    from grafana.panels import Panel


def operation() -> Dashboard:
    """Build it."""
    return board(
        "proxy",
        "keepwarm: the proxy itself",
        "What the proxy adds, what it takes of the machine, and whether Ollama, settings and history are well.",
        None,
        (
            Row("Now", (*_states(), _overhead(), _lag(), _in_flight())),
            Row("What it takes", (_cpu(), _memory(), _files())),
            Row("What is around it", (_upstream(), _settings(), _store())),
            Row("Other requests", (_passthrough(), _refused(), _overhead_spread())),
        ),
    )


def _states() -> tuple[Panel, ...]:
    return (
        yes_or_no(
            _small(
                "Does Ollama answer?",
                "every request fails until it does.",
                "Ollama's log; runbook KeepwarmUpstreamDown.",
            ),
            Query("min(keepwarm_upstream_up)", now=True),
            "yes",
            "no",
        ),
        yes_or_no(
            _small(
                "Are the settings those of the file?",
                "the last edit has a mistake; the settings before it are in force.",
                "the log names line and key; runbook KeepwarmSettingsRefused.",
            ),
            Query("min(keepwarm_config_last_reload_successful)", now=True),
            "yes",
            "no",
        ),
        yes_or_no(
            _small(
                "Is usage being remembered?",
                "the history cannot be written; a restart would forget what was learnt.",
                "disk full? permissions? runbook KeepwarmStoreFailing.",
            ),
            Query("min(keepwarm_store_up)", now=True),
            "yes",
            "no",
        ),
        number(
            _small(
                "Overhead, for 99 %", "more than 50 ms.", "runbook KeepwarmOverheadHigh.", unit="s", good="below 10 ms."
            ),
            Query(quantile(0.99, "keepwarm_overhead_seconds", window=SHOWN), now=True),
            (None, GREEN),
            (0.01, YELLOW),
            (0.05, RED),
        ),
        number(
            _small("Running for", "short: it was restarted.", "see the log for why.", unit="dtdurations", good="long."),
            Query("time() - max(process_start_time_seconds)", now=True),
        ),
        number(
            _small("Versions running", "more than you installed.", "restart the old ones.", unit="none", good="one."),
            Query("count(count by (version) (keepwarm_build_info))", now=True),
        ),
    )


def _small(title: str, bad: str, do: str, *, unit: str = "none", good: str = "yes.") -> About:
    shows = "As it stands now; the worst of the chosen proxies."
    return About(title=title, unit=unit, shows=shows, good=good, bad=bad, do=do, width=4, height=4, empty="no data")


def _overhead() -> Panel:
    about = About(
        title="What does the proxy add to a request?",
        unit="s",
        shows="Time in the proxy itself: neither waiting for a load nor Ollama's own time.",
        good="99 % below 10 ms.",
        bad="above 50 ms.",
        do="runbook KeepwarmOverheadHigh: CPU, very large bodies.",
    )
    return lines(about, *(Query(quantile(share, "keepwarm_overhead_seconds"), f"{share:.0%}") for share in (0.5, 0.99)))


def _lag() -> Panel:
    about = About(
        title="How late does the event loop come?",
        unit="s",
        shows="How late a timer fires: everything else in the proxy comes as late.",
        good="99 % below 10 ms.",
        bad="above 50 ms: it has more to do than one CPU core can.",
        do="give it a core; look for very large bodies.",
    )
    return lines(
        about, *(Query(quantile(share, "keepwarm_event_loop_lag_seconds"), f"{share:.0%}") for share in (0.5, 0.99))
    )


def _in_flight() -> Panel:
    about = About(
        title="How much is under way?",
        unit="none",
        shows="Requests that were forwarded, those that wait for a model, and those that run no model.",
        good="as many as people are at work.",
        bad="rising without end: Ollama takes them and does not answer.",
        do="Ollama's log; restart Ollama.",
    )
    return areas(
        about,
        Query("sum(keepwarm_requests_in_flight)", "forwarded"),
        Query("sum(keepwarm_requests_waiting)", "waiting for a model"),
        Query("sum(keepwarm_passthrough_requests_in_flight)", "without a model"),
    )


def _cpu() -> Panel:
    about = About(
        title="How much CPU does it take?",
        unit="percentunit",
        shows="CPU time of the proxy; 100 % is one core.",
        good="below 50 %.",
        bad="near 100 %: it cannot take more than one core.",
        do="see whether traffic explains it; else report it.",
    )
    return lines(about, Query(f"rate(process_cpu_seconds_total{RATE})", "{{instance}}"))


def _memory() -> Panel:
    about = About(
        title="How much main memory does it take?",
        unit="bytes",
        shows="Main memory of the proxy.",
        good="100 to 200 MiB, steady.",
        bad="rising for days.",
        do="report it; a restart helps meanwhile and forgets nothing.",
    )
    return lines(about, Query("process_resident_memory_bytes", "{{instance}}"))


def _files() -> Panel:
    about = About(
        title="How many files and sockets are open?",
        unit="none",
        shows="Open files of the proxy, about two for each request under way, as a share of what it may open.",
        good="far below 100 %.",
        bad="near 100 %: new connections are refused.",
        do="raise the limit (LimitNOFILE) or find clients that leave connections open.",
    )
    panel = lines(
        about,
        Query("process_open_fds", "{{instance}}"),
        Query("max(process_open_fds / process_max_fds)", "share of the limit"),
    )
    return right_axis(panel, "share of the limit", "percentunit")


def _upstream() -> Panel:
    about = About(
        title="When did Ollama answer?",
        unit="none",
        shows="1 while Ollama answers, 0 while it does not.",
        good="1.",
        bad="0, or a line that jumps.",
        do="runbook KeepwarmUpstreamDown.",
    )
    return lines(about, Query("keepwarm_upstream_up", "{{instance}}"))


def _settings() -> Panel:
    about = About(
        title="When were settings read?",
        unit="none",
        shows="Readings of the settings file, by result.",
        good="success when you saved the file.",
        bad="failure: the file has a mistake, the settings before it are in force.",
        do="runbook KeepwarmSettingsRefused.",
    )
    return bars(about, Query(f"sum by (result) (increase(keepwarm_config_reloads_total{RATE}))", "{{result}}"))


def _store() -> Panel:
    about = About(
        title="Does the usage history keep up?",
        unit="none",
        shows="Rows that wait to be written, and rows that were given up because too many waited.",
        good="a few waiting, none given up.",
        bad="rising: the disk is full, locked or slow.",
        do="runbook KeepwarmStoreFailing.",
    )
    return lines(
        about,
        Query("sum(keepwarm_store_pending_rows)", "waiting"),
        Query(f"sum(increase(keepwarm_store_dropped_rows_total{RATE}))", "given up"),
    )


def _passthrough() -> Panel:
    about = About(
        title="What else is asked of Ollama?",
        unit="reqps",
        shows="Requests that run no model, by path and outcome.",
        good="lists and version checks.",
        bad="many per second on /api/ps or /api/tags: a client polls; any `upstream_error`.",
        do="find the client that polls.",
    )
    expr = f"topk(10, sum by (path, outcome) (rate(keepwarm_passthrough_requests_total{RATE})) > 0)"
    return areas(about, Query(expr, "{{path}}, {{outcome}}"))


def _refused() -> Panel:
    about = About(
        title="What was refused?",
        unit="none",
        shows="Requests that keepwarm refused before they reached Ollama, by status.",
        good="nothing.",
        bad="many 401: somebody tries keys, or has a wrong one; 403: a client wants too much; 429, 503: limits.",
        do="docs/access.md tells who may do what, and which limit says so.",
    )
    return bars(about, Query(f"sum by (status) (increase(keepwarm_refused_requests_total{RATE})) > 0", "{{status}}"))


def _overhead_spread() -> Panel:
    about = About(
        title="How is the overhead spread?",
        unit="s",
        shows="Requests by what the proxy added to them, over time.",
        good="one dark band at the bottom.",
        bad="a second band further up: some requests are special, mostly very large ones.",
        do="look at what those clients send.",
    )
    return spread(about, Query(f"sum by (le) (increase(keepwarm_overhead_seconds_bucket{RATE}))", "{{le}}"))
