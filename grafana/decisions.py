"""The dashboard of what keepwarm did: loads, evictions, expiries, reloads, who waits, and what memory is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana.board import Row, board, models
from grafana.one_model import RESIDENCY
from grafana.panels import About, bars, dashed, for_ever, lines, right_axis, states
from grafana.queries import RATE, Query, ever, quantile, top

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import Dashboard

    from grafana.panels import Panel


def decisions() -> Dashboard:
    """Build it."""
    return board(
        "decisions",
        "keepwarm: decisions",
        "What keepwarm decided, how often and why. `keepwarm explain MODEL` has the reasons in words.",
        models(),
        (
            Row("Now", (_residency(), _loads(), _evictions(), _queue())),
            Row("Who comes and goes", (_loaded(), _evicted(), _expired())),
            Row("What could be better", (_reloads(), _regret(), _spills())),
            Row("Loaded ahead of use", (_warm_ups(),)),
            Row("What memory is worth", (_worth(), _keep_alive(), _load_wait())),
        ),
    )


def _residency() -> Panel:
    about = About(
        title="Who was resident when?",
        unit="none",
        shows="Each model that was in memory in the time shown; green: at work.",
        good="long bars of models in use.",
        bad="two models whose stripes alternate: they push each other out.",
        do="runbook KeepwarmThrash.",
        width=24,
        height=9,
        empty="no model was resident",
    )
    return states(
        about, RESIDENCY, Query("1 + clamp_max(sum by (model) (keepwarm_resident_busy_requests), 1)", "{{model}}")
    )


def _loads() -> Panel:
    about = About(
        title="Why were models loaded?",
        unit="none",
        shows="Loads by cause. `cold`: it was not there; `reload`: other runner options; `spill`: it had not fitted.",
        good="few loads for many requests.",
        bad="many reloads or spills.",
        do="see the row What could be better.",
    )
    return bars(about, Query(f"sum by (cause) (increase(keepwarm_loads_total{RATE}))", "{{cause}}"))


def _warm_ups() -> Panel:
    about = About(
        title="Were models that were loaded ahead used?",
        unit="none",
        shows="Loads ahead of use, judged after two minutes at most: asked for in time, or not.",
        good="mostly used; few at all.",
        bad="mostly unused: keepwarm stops by itself for such a model.",
        do="nothing; or `warm_up: false` in the settings.",
        width=24,
        height=6,
        empty="nothing was loaded ahead",
    )
    return bars(about, Query(f"sum by (result) (increase(keepwarm_warmups_total{RATE}))", "{{result}}"))


def _evictions() -> Panel:
    about = About(
        title="Why did models leave?",
        unit="none",
        shows="Evictions by cause, expiries (nobody came before the keep_alive ran out), unloads by a client.",
        good="expiries and room made ahead.",
        bad="evictions for requests; `upstream`, which keepwarm did not decide.",
        do="more memory, fewer models, or a cap that fits (runbook KeepwarmModelCapBinds).",
    )
    return bars(
        about,
        Query(f"sum by (cause) (increase(keepwarm_evictions_total{RATE}))", "{{cause}}"),
        Query(f"sum(increase(keepwarm_expiries_total{RATE}))", "expiry"),
        Query(f"sum(increase(keepwarm_explicit_unloads_total{RATE}))", "unloaded by a client"),
    )


def _queue() -> Panel:
    about = About(
        title="Who waits, and how long?",
        unit="none",
        shows="Requests that are held until their model is loaded; on the right how long the oldest has waited.",
        good="0, with short peaks.",
        bad="a line that stays up.",
        do="runbook KeepwarmColdLoadsHang.",
    )
    panel = lines(
        about,
        Query("sum(keepwarm_requests_waiting)", "waiting"),
        Query("max(keepwarm_longest_wait_seconds)", "longest wait"),
    )
    return right_axis(panel, "longest wait", "s")


def _loaded() -> Panel:
    return _by_model(
        "Which models are loaded most?",
        "Loads of the ten models that were loaded most.",
        "keepwarm_loads_total",
        bad="one model far ahead of its uses: it does not stay.",
        do="click on Model above and see why it leaves.",
    )


def _evicted() -> Panel:
    return _by_model(
        "Which models have to make room?",
        "Evictions of the ten models that were evicted most.",
        "keepwarm_evictions_total",
        bad="a model that people use all the time.",
        do="a `weight` above 1 or a `pin` for it.",
    )


def _expired() -> Panel:
    return _by_model(
        "Which models expire?",
        "Models whose keep_alive ran out before anyone came: their memory was given back.",
        "keepwarm_expiries_total",
        bad="a model that expires and is loaded again at once.",
        do="a lower `memory.price`, or `keep_alive.min` for it.",
    )


def _reloads() -> Panel:
    about = About(
        title="Which models are loaded twice?",
        unit="none",
        shows="Loads that replaced the same model. `reload`: a client asked for other options, such as num_ctx; "
        "`spill`: the first load did not fit although it should have.",
        good="none.",
        bad="reloads again and again: two clients disagree.",
        do="give them the same num_ctx.",
    )
    by_model = f"sum by (model, cause) (increase(keepwarm_reloads_total{RATE}))"
    ranked = f"{by_model} and on (model) topk(10, {ever('keepwarm_reloads_total')})"
    return bars(about, Query(ranked, "{{model}}, {{cause}}"))


def _regret() -> Panel:
    return _by_model(
        "Which evictions were regretted?",
        "Models that were asked for again within five minutes of their eviction.",
        "keepwarm_regret_total",
        bad="the same few models in turn.",
        do="runbook KeepwarmThrash.",
    )


def _spills() -> Panel:
    about = About(
        title="What did loads spill to main memory?",
        unit="bytes",
        shows="What did not fit on the GPU when a model was loaded, also where the second try mended it.",
        good="nothing.",
        bad="any that comes back.",
        do="runbook KeepwarmSpill.",
    )
    by_model = f"sum by (model) (increase(keepwarm_spilled_bytes_total{RATE}))"
    return bars(about, Query(top(by_model, ever("keepwarm_spilled_bytes_total")), "{{model}}"))


def _by_model(title: str, shows: str, counter: str, *, bad: str, do: str) -> Panel:
    about = About(title=title, unit="none", shows=shows, good="few.", bad=bad, do=do)
    by_model = f"sum by (model) (increase({counter}{RATE}))"
    return bars(about, Query(top(by_model, ever(counter)), "{{model}}"))


def _worth() -> Panel:
    about = About(
        title="What is memory worth?",
        unit="s",
        shows="Seconds of waiting that keeping each resident saves per GiB·hour, and the price that you set for it.",
        good="residents above the price; those below it are about to expire.",
        bad="the price above all of them: everything leaves, everyone waits.",
        do="lower `memory.price`; 0 keeps models until someone needs the room.",
    )
    worth = Query("topk(20, max by (model) (keepwarm_resident_worth_seconds))", "{{model}}")
    return dashed(lines(about, worth, Query("max(keepwarm_memory_price_seconds)", "price")), "price", "red")


def _keep_alive() -> Panel:
    about = About(
        title="How long are models kept?",
        unit="s",
        shows="The keep_alive that Ollama was given last for each resident. Ollama evicts the shortest first.",
        good="longer for models that are used more.",
        bad="all at `keep_alive.max`, or all at `min`: the limits decide, not the use.",
        do="widen the limits in `keep_alive`.",
        empty="no model is resident",
    )
    return for_ever(lines(about, Query("topk(20, max by (model) (keepwarm_keep_alive_applied_seconds))", "{{model}}")))


def _load_wait() -> Panel:
    about = About(
        title="How long do cold requests wait?",
        unit="s",
        shows="How long cold requests were held until they could go on.",
        good="about the load time.",
        bad="much longer: they wait for room that busy models do not give.",
        do="`max_wait` limits how long a busy model may keep others waiting.",
    )
    return lines(
        about,
        *(
            Query(quantile(share, "keepwarm_load_wait_seconds"), f"{share:.0%}", exemplars=True)
            for share in (0.5, 0.95)
        ),
    )
