"""The dashboard of one model: how it is used, what it costs, how long it is kept and what its clients asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana.board import Row, board, one_model_or_all
from grafana.headline import cold_share
from grafana.panels import GREEN, About, areas, bars, dashed, for_ever, lines, number, spread, states
from grafana.queries import RATE, SHOWN, Query, quantile

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import Dashboard

    from grafana.panels import Panel

RESIDENCY = (("not resident", "transparent"), ("idle", "blue"), ("busy", GREEN))


def model_board() -> Dashboard:
    """Build it."""
    return board(
        "model",
        "keepwarm: one model",
        "Why is this model kept, or not? How it is used, what its loads cost, how long it stays.",
        one_model_or_all(),
        (
            Row("Now", (*_numbers(), _residency(), _keep_alive(), _gaps_and_ttl())),
            Row("Use", (_uses(), _gaps(), _speed())),
            Row("What it costs", (_first_byte(), _loads(), _memory())),
            Row("What was decided", (_leaves(), _comes(), _worth())),
        ),
    )


def _numbers() -> tuple[Panel, ...]:
    return (
        _number("Uses", "none", "Requests for it in the time shown.", f"sum(increase(keepwarm_requests_total{SHOWN}))"),
        _number(
            "Typical gap between uses",
            "s",
            "Half of its requests came sooner after the one before.",
            quantile(0.5, "keepwarm_gap_seconds", window=SHOWN),
        ),
        _number(
            "Load time",
            "s",
            "What keepwarm's loads of it took on average in the time shown.",
            f"sum(rate(keepwarm_load_seconds_sum{SHOWN})) / (sum(rate(keepwarm_load_seconds_count{SHOWN})) > 0)",
        ),
        cold_share(4, "see below whether it is evicted or expires; a `weight`, `min` or `pin` keeps it longer."),
        _number(
            "Waited for its loads",
            "s",
            "Seconds that its clients waited for it in the time shown, all together.",
            f"sum(increase(keepwarm_load_wait_seconds_sum{SHOWN}))",
        ),
        _number("Tokens per second", "none", "How fast it writes, on average.", _speed_of("out", "generation", SHOWN)),
    )


def _number(title: str, unit: str, shows: str, expr: str) -> Panel:
    about = About(
        title=title,
        unit=unit,
        shows=shows,
        good="as it was yesterday.",
        bad="a sudden change.",
        do="choose a longer time above and look at the rows below.",
        width=4,
        height=4,
        empty="nothing yet",
    )
    return number(about, Query(expr, now=True))


def _speed_of(direction: str, phase: str, window: str) -> str:
    tokens = f'sum(rate(keepwarm_tokens_total{{direction="{direction}"}}{window}))'
    return f"{tokens} / (sum(rate(keepwarm_{phase}_seconds_total{window})) > 0)"


def _residency() -> Panel:
    about = About(
        title="When was it resident?",
        unit="none",
        shows="When the model was in memory, and when it was at work.",
        good="resident whenever it is at work, and not for hours without.",
        bad="short stripes: it is loaded for one request and leaves again.",
        do="see below why it left.",
        width=12,
        height=6,
    )
    there = "1 + clamp_max(max(keepwarm_resident_busy_requests), 1)"
    return states(about, RESIDENCY, Query(f"{there} or 0 * max(keepwarm_residents)", "residency"))


def _keep_alive() -> Panel:
    about = About(
        title="How long is it kept, and what did clients ask for?",
        unit="s",
        shows="The keep_alive that keepwarm gave to Ollama last, and the one that the last client asked for.",
        good="about the gaps between uses, longer where memory is free.",
        bad="far from what clients ask for, and they wait.",
        do="set `client_keep_alive: respect`, or `keep_alive.min` in a rule for this model.",
        width=6,
        height=6,
        empty="not resident, nothing asked",
    )
    kept = Query("min(keepwarm_keep_alive_applied_seconds)", "kept")
    return for_ever(lines(about, kept, Query("min(keepwarm_keep_alive_asked_seconds)", "asked for by a client")))


def _gaps_and_ttl() -> Panel:
    about = About(
        title="Is it kept as long as its gaps?",
        unit="s",
        shows="Gaps between uses (half, and 90 % of them, are shorter), beside how long it is kept.",
        good="kept longer than most gaps, if memory is there.",
        bad="kept shorter than half of the gaps: most uses are cold starts.",
        do="a lower `memory.price`, or `keep_alive.min`; see first whether memory is short.",
        width=6,
        height=6,
    )
    gaps = (Query(quantile(share, "keepwarm_gap_seconds"), f"gap, {share:.0%}") for share in (0.5, 0.9))
    return dashed(lines(about, *gaps, Query("max(keepwarm_keep_alive_applied_seconds) >= 0", "kept")), "kept", GREEN)


def _uses() -> Panel:
    about = About(
        title="When is it used?",
        unit="none",
        shows="Requests for it, by what they met.",
        good="warm.",
        bad="cold ones, or errors.",
        do="cold: see why it left. Errors: Ollama's log.",
    )
    return bars(about, Query(f"sum by (outcome) (increase(keepwarm_requests_total{RATE})) > 0", "{{outcome}}"))


def _gaps() -> Panel:
    about = About(
        title="How far apart are its uses?",
        unit="s",
        shows="The gaps between requests, by length: what keepwarm learns from.",
        good="dark where gaps are short: it pays to keep it.",
        bad="dark at hours: keeping it between uses is waste.",
        do="nothing; keepwarm sees the same. A rule can overrule it.",
    )
    return spread(about, Query(f"sum by (le) (increase(keepwarm_gap_seconds_bucket{RATE}))", "{{le}}"))


def _speed() -> Panel:
    about = About(
        title="How many tokens per second?",
        unit="none",
        shows="How fast Ollama wrote answers and read prompts.",
        good="steady.",
        bad="a fall to a fraction: it spilled to main memory, or shares the GPU with others at work.",
        do="compare with its memory below.",
    )
    return lines(
        about,
        Query(_speed_of("out", "generation", RATE), "writing"),
        Query(_speed_of("in", "prompt_evaluation", RATE), "reading"),
    )


def _first_byte() -> Panel:
    about = About(
        title="How long until the first byte?",
        unit="s",
        shows="Time to the first byte for 95 % of its requests, warm and cold apart.",
        good="cold: about the load time.",
        bad="cold far above the load time: it waits for room.",
        do="see the queue on Decisions.",
    )
    return lines(
        about,
        *(
            Query(quantile(0.95, "keepwarm_ttft_seconds", f'outcome="{outcome}"'), outcome, exemplars=True)
            for outcome in ("warm", "cold")
        ),
    )


def _loads() -> Panel:
    about = About(
        title="How long does it take to load?",
        unit="s",
        shows="Average time of its loads, by cause. `reload`: loaded again because options such as num_ctx differed.",
        good="steady; faster when its file is still in the page cache.",
        bad="rising: the disk is slow or main memory too small for the page cache.",
        do="a faster disk, or more main memory.",
    )
    seconds, count = (f"sum by (cause) (rate(keepwarm_load_seconds_{part}{RATE}))" for part in ("sum", "count"))
    return lines(about, Query(f"{seconds} / ({count} > 0)", "{{cause}}"))


def _memory() -> Panel:
    about = About(
        title="How much memory does it take?",
        unit="bytes",
        shows="Its whole size and what of it is on the GPU.",
        good="both lines are one.",
        bad="less on the GPU than its size: it spilled.",
        do="runbook KeepwarmSpill; a smaller num_ctx makes it smaller.",
        empty="not resident",
    )
    return lines(
        about,
        Query("sum(keepwarm_resident_bytes)", "size"),
        Query("sum(keepwarm_resident_vram_bytes)", "on the GPU"),
    )


def _leaves() -> Panel:
    about = About(
        title="Why did it leave?",
        unit="none",
        shows="Evictions by cause, expiries of its keep_alive, unloads by a client, and evictions that were regretted.",
        good="it expires when nobody needs it.",
        bad="evictions, above all regretted ones.",
        do="runbook KeepwarmThrash.",
    )
    return bars(
        about,
        Query(f"sum by (cause) (increase(keepwarm_evictions_total{RATE}))", "{{cause}}"),
        Query(f"sum(increase(keepwarm_expiries_total{RATE}))", "expired"),
        Query(f"sum(increase(keepwarm_explicit_unloads_total{RATE}))", "unloaded by a client"),
        Query(f"sum(increase(keepwarm_regret_total{RATE}))", "regretted"),
    )


def _comes() -> Panel:
    about = About(
        title="Why was it loaded?",
        unit="none",
        shows="Loads by cause. `cold`: it was not there; `reload`: options such as num_ctx differed; `spill`: the load "
        "before did not fit on the GPU.",
        good="few, all cold.",
        bad="reloads: clients disagree on num_ctx and throw each other's model out.",
        do="give clients the same num_ctx, or set it in the Modelfile.",
    )
    return bars(about, Query(f"sum by (cause) (increase(keepwarm_loads_total{RATE}))", "{{cause}}"))


def _worth() -> Panel:
    about = About(
        title="Is it worth its memory?",
        unit="s",
        shows="Seconds of waiting that keeping it saves per GiB·hour, and the price that you set for a GiB·hour.",
        good="worth above the price.",
        bad="worth below the price for hours, and it is still there: a pin or `keep_alive.min` holds it.",
        do="nothing if you want it so.",
        empty="not resident",
    )
    panel = areas(
        about,
        Query("max(keepwarm_resident_worth_seconds)", "worth"),
        Query("max(keepwarm_memory_price_seconds)", "price"),
    )
    return dashed(panel, "price", "red")
