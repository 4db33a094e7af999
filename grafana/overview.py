"""The first dashboard: is it fast, is memory well used, which model costs waiting, does anything go wrong?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana.board import Row, board, models
from grafana.headline import headline
from grafana.memory import memory_now, residents_now, spilled
from grafana.panels import About, areas, bars, lines, ranking, right_axis
from grafana.queries import RATE, SHOWN, Query, ever, quantile, top

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import Dashboard

    from grafana.panels import Panel

_ANSWERED = 'outcome=~"warm|cold"'
_COLD = 'outcome="cold"'
_WAITED = "keepwarm_load_wait_seconds_sum"


def overview() -> Dashboard:
    """Build it."""
    return board(
        "overview",
        "keepwarm: overview",
        "Is it fast, is memory well used, which model costs waiting? Each panel's ⓘ says what to do.",
        models(),
        (
            Row("Now", (*headline(), _first_byte(), memory_now(), _who_costs(), residents_now())),
            Row("Speed and use", (_whole_answers(), _requests(), _asked_for())),
            Row("What it costs", (_next_to_ollama(), _evictions(), _regret(), spilled())),
            Row("Trouble", (_errors(), _failures(), _waiting())),
        ),
    )


def _first_byte() -> Panel:
    about = About(
        title="How long until the first byte?",
        unit="s",
        shows="Time to the first byte of the answer; warm: the model was there; cold: it had to be loaded. "
        "Diamonds are single requests that were cold or took a second; their number finds them in the log.",
        good="warm: below a second; cold: about the load time of the model.",
        bad="warm requests slow: Ollama queues. Cold ones far above the load time: they wait for room, or for others.",
        do="warm: raise OLLAMA_NUM_PARALLEL or spread the load. Cold: see the queue on Decisions.",
        width=12,
        height=9,
    )
    cases = [(share, outcome) for outcome in ("warm", "cold") for share in (0.5, 0.95)]
    return lines(
        about,
        *(
            Query(
                quantile(share, "keepwarm_ttft_seconds", f'outcome="{outcome}"'),
                f"{outcome}, {share:.0%}",
                exemplars=True,
            )
            for share, outcome in cases
        ),
    )


def _who_costs() -> Panel:
    about = About(
        title="Which model costs waiting?",
        unit="s",
        shows="Seconds that people waited for loads of a model in the time shown: the ten that cost most.",
        good="short bars, and none that stands out.",
        bad="one model far ahead: it is loaded again and again, or its load is very slow.",
        do="click on it: its own page shows when it left and why. A `weight` above 1, or a `pin`, keeps it longer.",
        width=8,
        height=9,
        empty="nobody waited",
    )
    return ranking(about, Query(f"topk(10, sum by (model) (increase({_WAITED}{SHOWN})) > 0)", "{{model}}", now=True))


def _whole_answers() -> Panel:
    about = About(
        title="How long does a whole answer take?",
        unit="s",
        shows="From a request's arrival to the end of its answer.",
        good="steady.",
        bad="rising while the same is asked: the GPU is shared by too many, or a model spilled to main memory.",
        do="look at spills and tokens per second.",
    )
    cases = [(share, outcome) for outcome in ("warm", "cold") for share in (0.5, 0.95)]
    return lines(
        about,
        *(
            Query(quantile(share, "keepwarm_e2e_seconds", f'outcome="{outcome}"'), f"{outcome}, {share:.0%}")
            for share, outcome in cases
        ),
    )


def _requests() -> Panel:
    about = About(
        title="How many requests, and how many of them cold?",
        unit="reqps",
        shows="Answered requests per second, by what they met; on the right the share of cold ones.",
        good="nearly all warm.",
        bad="much that is cold; or `passthrough`, which means that keepwarm does not know what is loaded.",
        do="passthrough: see whether Ollama answers /api/ps.",
    )
    cold, answered = (f"sum(rate(keepwarm_requests_total{{{which}}}{RATE}))" for which in (_COLD, _ANSWERED))
    by_outcome = f'sum by (outcome) (rate(keepwarm_requests_total{{outcome=~"warm|cold|passthrough"}}{RATE}))'
    panel = areas(about, Query(by_outcome, "{{outcome}}"), Query(f"{cold} / ({answered} > 0)", "share of cold ones"))
    return right_axis(panel, "share of cold ones", "percentunit")


def _asked_for() -> Panel:
    about = About(
        title="Which models are asked for?",
        unit="reqps",
        shows="Requests per second of the ten models that are used most in the time shown.",
        good="a few models take most of it: those stay in memory.",
        bad="very many models, all alike: no policy can keep them all.",
        do="agree on fewer models, or give the GPU more memory.",
    )
    by_model = f"sum by (model) (rate(keepwarm_requests_total{RATE}))"
    return areas(about, Query(top(by_model, ever("keepwarm_requests_total")), "{{model}}"))


def _next_to_ollama() -> Panel:
    about = About(
        title="How much waiting is saved?",
        unit="s",
        shows="Seconds of waiting for models per hour: what people really waited, and what the same requests would "
        "have waited for Ollama alone, with its defaults.",
        good="`keepwarm` well below `ollama`.",
        bad="`keepwarm` above `ollama` for days: its decisions cost more than they save.",
        do="look on Decisions who is evicted; `keepwarm recommend` says which settings fit your history.",
        width=24,
        empty="nothing is compared: `shadow` is switched off",
    )
    by_policy = f"3600 * sum by (policy) (rate(keepwarm_shadow_wait_seconds_total{RATE}))"
    return lines(about, Query(by_policy, "{{policy}}"))


def _evictions() -> Panel:
    about = About(
        title="Why did models leave before their time?",
        unit="none",
        shows="Models that left to make room. `eviction`: for a request; `room_ahead`: in idle time, before someone "
        "needs the room; `upstream`: Ollama, or someone beside keepwarm, did it.",
        good="few; `room_ahead` rather than `eviction`.",
        bad="many; any `upstream`: Ollama decides on its own.",
        do="upstream: let clients use keepwarm's port only; set `memory.max_models` as Ollama's own limit.",
    )
    return bars(about, Query(f"sum by (cause) (increase(keepwarm_evictions_total{RATE}))", "{{cause}}"))


def _regret() -> Panel:
    about = About(
        title="Which evictions were regretted?",
        unit="none",
        shows="Models that were asked for again within five minutes of their eviction.",
        good="none, or one now and then.",
        bad="the same models again and again: they do not fit together.",
        do="runbook KeepwarmThrash.",
    )
    by_model = f"sum by (model) (increase(keepwarm_regret_total{RATE}))"
    return bars(about, Query(top(by_model, ever("keepwarm_regret_total")), "{{model}}"))


def _errors() -> Panel:
    about = About(
        title="What goes wrong?",
        unit="reqps",
        shows="Requests that were not answered well. `upstream_error`: Ollama failed or was unreachable; "
        "`client_error`: it refused the request (4xx); `client_gone`: the client left first.",
        good="nearly nothing.",
        bad="`upstream_error`; or much `client_gone`, which means that clients' timeouts are shorter than loads.",
        do="upstream_error: Ollama's log. client_gone: longer timeouts in clients, or keep that model longer.",
    )
    kinds = 'outcome=~"client_gone|client_error|upstream_error"'
    return areas(about, Query(f"sum by (outcome) (rate(keepwarm_requests_total{{{kinds}}}{RATE}))", "{{outcome}}"))


def _failures() -> Panel:
    about = About(
        title="Which loads and unloads failed?",
        unit="none",
        shows="Loads and unloads of keepwarm that failed; the requests that needed them went to Ollama as they came.",
        good="none.",
        bad="any that comes back.",
        do="runbook KeepwarmManagementFails: the log names the model and Ollama's own words.",
    )
    by_model = f"sum by (model) (increase(keepwarm_management_failures_total{RATE}))"
    return bars(about, Query(top(by_model, ever("keepwarm_management_failures_total")), "{{model}}"))


def _waiting() -> Panel:
    about = About(
        title="How many wait for a model now?",
        unit="none",
        shows="Model requests that are held until their model is loaded; on the right how long the oldest has waited.",
        good="0, with short peaks.",
        bad="a line that stays up: loads hang, or busy models do not make room.",
        do="runbook KeepwarmColdLoadsHang.",
    )
    panel = lines(
        about,
        Query("sum(keepwarm_requests_waiting)", "waiting"),
        Query("max(keepwarm_longest_wait_seconds)", "longest wait"),
    )
    return right_axis(panel, "longest wait", "s")
