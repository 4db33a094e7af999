from collections.abc import Iterable

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from proxy.domain.effects import Cause, Effect, Left, Loaded, ManagementFailed, Outcome, Regretted
from proxy.domain.events import AnswerFigures, Ending, Tick
from proxy.domain.snapshot import EngineSnapshot
from proxy.observe.metrics import Metrics
from tests.unit.observe.metric_names import everything_happened
from tests.unit.observe.samples import NOW, STORE, arrived, engine, finished, resident

LLAMA = "llama3:latest"


def families(metrics: Metrics, snapshot: EngineSnapshot | None = None) -> dict[str, Metric]:
    body, _ = metrics.exposition(snapshot or engine(), STORE)
    return {family.name: family for family in text_string_to_metric_families(body.decode())}


def value(metrics: Metrics, name: str, snapshot: EngineSnapshot | None = None, /, **labels: str) -> float | None:
    for family in families(metrics, snapshot).values():
        for sample in family.samples:
            if sample.name == f"keepwarm_{name}" and sample.labels == labels:
                return sample.value
    return None


def noticed(*effects: Effect) -> Metrics:
    metrics = Metrics(max_models=200)
    metrics.observe(Tick(NOW), effects, [])
    return metrics


@pytest.mark.parametrize(
    ("outcome", "ending", "status", "label"),
    [
        (Outcome.WARM, Ending.ANSWERED, 200, "warm"),
        (Outcome.COLD, Ending.ANSWERED, 200, "cold"),
        (Outcome.PASSTHROUGH, Ending.ANSWERED, 200, "passthrough"),
        (Outcome.WARM, Ending.ANSWERED, 404, "client_error"),
        (Outcome.WARM, Ending.ANSWERED, 500, "upstream_error"),
        (Outcome.COLD, Ending.CLIENT_GONE, 0, "client_gone"),
        (Outcome.COLD, Ending.UPSTREAM_ERROR, 502, "upstream_error"),
    ],
)
def test_a_request_is_counted_by_what_it_met_or_what_went_wrong(
    outcome: Outcome, ending: Ending, status: int, label: str
) -> None:
    metrics = Metrics(max_models=200)
    metrics.observe(Tick(NOW), [], [finished(outcome=outcome, ending=ending, status=status)])
    assert value(metrics, "requests_total", model=LLAMA, endpoint="/api/chat", outcome=label, client="keyless") == 1


def test_beyond_100_clients_share_a_label() -> None:
    metrics = Metrics(max_models=200)
    requests = [finished()._replace(client=f"c{number}") for number in range(130)]
    metrics.observe(Tick(NOW), [], requests)
    samples = families(metrics)["keepwarm_requests"].samples
    labels = {sample.labels["client"]: sample.value for sample in samples if sample.labels.get("outcome") == "warm"}
    assert (len(labels), labels["c99"], labels["other"]) == (101, 1, 30)


def test_what_keepwarm_refuses_is_counted_by_its_status() -> None:
    metrics = Metrics(max_models=200)
    assert value(metrics, "refused_requests_total", status="401") == 0
    metrics.refused(401)
    metrics.refused(401)
    assert value(metrics, "refused_requests_total", status="401") == 2


def test_latencies_are_those_of_requests_that_were_answered_well() -> None:
    metrics = Metrics(max_models=200)
    metrics.observe(Tick(NOW), [], [finished(), finished(ending=Ending.CLIENT_GONE), finished(status=404)])
    assert value(metrics, "ttft_seconds_sum", model=LLAMA, outcome="warm") == 4.5
    assert value(metrics, "e2e_seconds_sum", model=LLAMA, outcome="warm") == 9.0
    assert value(metrics, "e2e_seconds_bucket", model=LLAMA, outcome="warm", le="5.0") == 0
    assert value(metrics, "e2e_seconds_bucket", model=LLAMA, outcome="warm", le="10.0") == 1
    assert {s.labels["outcome"] for s in families(metrics)["keepwarm_e2e_seconds"].samples if s.value} == {"warm"}


def test_cold_requests_waited_for_a_load_even_if_their_client_left() -> None:
    metrics = Metrics(max_models=200)
    cold = finished(outcome=Outcome.COLD)
    metrics.observe(Tick(NOW), [], [finished(), cold, finished(outcome=Outcome.COLD, ending=Ending.CLIENT_GONE)])
    assert value(metrics, "load_wait_seconds_count", model=LLAMA) == 2
    assert value(metrics, "load_wait_seconds_sum", model=LLAMA) == 8.0


def test_tokens_and_their_seconds_come_from_the_figures() -> None:
    metrics = Metrics(max_models=200)
    figures = AnswerFigures(prompt_tokens=100, prompt_seconds=0.5, generated_tokens=40, generation_seconds=2.0)
    metrics.observe(Tick(NOW), [], [finished(figures=figures), finished(figures=figures), finished()])
    assert value(metrics, "tokens_total", model=LLAMA, direction="in", client="keyless") == 200
    assert value(metrics, "tokens_total", model=LLAMA, direction="out", client="keyless") == 80
    assert value(metrics, "prompt_evaluation_seconds_total", model=LLAMA) == 1.0
    assert value(metrics, "generation_seconds_total", model=LLAMA) == 4.0


def test_a_figure_that_makes_no_sense_is_not_counted() -> None:
    metrics = Metrics(max_models=200)
    metrics.observe(Tick(NOW), [], [finished(figures=AnswerFigures(prompt_tokens=-5))])
    assert value(metrics, "tokens_total", model=LLAMA, direction="in", client="keyless") == 0


@pytest.mark.parametrize(("cause", "reloads"), [(Cause.COLD, None), (Cause.RELOAD, 1), (Cause.SPILL, 1)])
def test_a_load_is_counted_with_its_seconds_spill_and_as_a_reload_if_it_is_one(
    cause: Cause, reloads: float | None
) -> None:
    metrics = noticed(Loaded(LLAMA, cause, seconds=6.2, bytes=5_000, spilled_bytes=300))
    assert value(metrics, "loads_total", model=LLAMA, cause=cause.value) == 1
    assert value(metrics, "load_seconds_sum", model=LLAMA, cause=cause.value) == 6.2
    assert value(metrics, "spilled_bytes_total", model=LLAMA) == 300
    assert value(metrics, "reloads_total", model=LLAMA, cause=cause.value) == reloads


@pytest.mark.parametrize(
    ("cause", "counted"),
    [
        (Cause.EVICTION, "evictions"),
        (Cause.ROOM_AHEAD, "evictions"),
        (Cause.UPSTREAM, "evictions"),
        (Cause.EXPIRY, "expiries"),
        (Cause.CLIENT, "explicit_unloads"),
        (Cause.RELOAD, None),
        (Cause.SPILL, None),
    ],
)
def test_a_model_that_leaves_is_counted_once_by_why_it_left(cause: Cause, counted: str | None) -> None:
    metrics = noticed(Left(LLAMA, cause, 5_000))
    found = families(metrics)
    names = ("evictions", "expiries", "explicit_unloads")
    sums = {name: sum(sample.value for sample in found[f"keepwarm_{name}"].samples) for name in names}
    assert sums == {name: int(name == counted) for name in names}


def test_regret_and_failed_management_are_counted() -> None:
    metrics = noticed(Regretted(LLAMA, 41.0), ManagementFailed(LLAMA, "loading", "out of memory"))
    assert value(metrics, "regret_total", model=LLAMA) == 1
    assert value(metrics, "management_failures_total", model=LLAMA) == 1


@pytest.mark.parametrize(("asked", "shown"), [(300.0, 300.0), (-7.0, -1.0), (None, None)])
def test_the_keep_alive_that_a_client_asked_for_is_shown(asked: float | None, shown: float | None) -> None:
    metrics = Metrics(max_models=200)
    metrics.observe(arrived(keep_alive=asked), [], [])
    assert value(metrics, "keep_alive_asked_seconds", model=LLAMA) == shown


def test_at_most_max_models_have_a_label_of_their_own() -> None:
    metrics = Metrics(max_models=200)
    for number in range(250):
        metrics.observe(arrived(f"m{number}:latest", 60.0), [], [finished(f"m{number}:latest")])
    requests = families(metrics)["keepwarm_requests"].samples
    assert len({sample.labels["model"] for sample in requests}) == 201
    assert value(metrics, "requests_total", model="other", endpoint="/api/chat", outcome="warm", client="keyless") == 50


def test_a_name_that_ollama_does_not_know_takes_no_label() -> None:
    metrics = Metrics(max_models=1)
    for number in range(5):
        metrics.observe(
            arrived(f"made-up-{number}", 60.0, known=False), [], [finished(f"made-up-{number}", known=False)]
        )
    metrics.observe(Tick(NOW), [], [finished()])
    assert value(metrics, "requests_total", model="other", endpoint="/api/chat", outcome="warm", client="keyless") == 5
    assert value(metrics, "requests_total", model=LLAMA, endpoint="/api/chat", outcome="warm", client="keyless") == 1


def test_requests_that_run_no_model_are_counted_by_a_bounded_path() -> None:
    metrics = Metrics(max_models=200)
    paths = ["/api/tags", "/api/blobs/sha256:12", "/v1/models/llama3", "/wp-admin", "/api/chat", "/api/blobsX"]
    for _ in paths:
        metrics.passthrough_started()
    for path in paths[1:]:
        metrics.passthrough_ended(path, Ending.ANSWERED)
    labels = {s.labels["path"]: s.value for s in families(metrics)["keepwarm_passthrough_requests"].samples if s.value}
    assert labels == {"/api/blobs": 1, "/v1/models": 1, "/api/chat": 1, "other": 2}
    assert value(metrics, "passthrough_requests_in_flight") == 1


def test_what_only_the_server_knows_is_taken_as_told() -> None:
    metrics = Metrics(max_models=200)
    metrics.overhead(0.0002)
    metrics.event_loop_lag(0.004)
    metrics.upstream_up(up=True)
    metrics.config_reloaded(NOW)
    assert value(metrics, "config_last_reload_successful") == 1
    metrics.config_refused()
    assert value(metrics, "config_last_reload_successful") == 0
    assert value(metrics, "overhead_seconds_bucket", le="0.0001") == 0
    assert value(metrics, "overhead_seconds_bucket", le="0.00025") == 1
    assert value(metrics, "event_loop_lag_seconds_sum") == 0.004
    assert value(metrics, "upstream_up") == 1
    assert value(metrics, "config_reloads_total", result="success") == 1
    assert value(metrics, "config_reloads_total", result="failure") == 1
    assert value(metrics, "config_last_reload_success_timestamp_seconds") == NOW


def test_two_proxies_in_one_process_count_apart() -> None:
    one, other = noticed(Regretted(LLAMA, 41.0)), Metrics(max_models=200)
    assert value(one, "regret_total", model=LLAMA) == 1
    assert value(other, "regret_total", model=LLAMA) is None


def test_a_model_name_with_quotes_and_line_ends_stays_one_label() -> None:
    metrics = Metrics(max_models=200)
    name = 'evil"} 1\nkeepwarm_upstream_up 1\n#\\'
    metrics.observe(Tick(NOW), [], [finished(name)])
    assert value(metrics, "requests_total", model=name, endpoint="/api/chat", outcome="warm", client="keyless") == 1
    assert value(metrics, "upstream_up") == 0


def test_what_may_happen_to_a_model_begins_at_0_when_the_model_is_first_seen() -> None:
    metrics = Metrics(max_models=200)
    metrics.observe(arrived(LLAMA), [], [])
    for name in ("expiries", "explicit_unloads", "regret", "management_failures", "spilled_bytes"):
        assert value(metrics, f"{name}_total", model=LLAMA) == 0
    for name, causes in (
        ("loads", ("cold", "reload", "spill")),
        ("reloads", ("reload", "spill")),
        ("evictions", ("eviction", "room_ahead", "upstream")),
    ):
        assert [value(metrics, f"{name}_total", model=LLAMA, cause=cause) for cause in causes] == [0] * len(causes)
    counted = {"model": LLAMA, "client": "keyless"}
    for outcome in ("warm", "cold", "upstream_error"):
        assert value(metrics, "requests_total", endpoint="/api/chat", outcome=outcome, **counted) == 0
    for direction in ("in", "out"):
        assert value(metrics, "tokens_total", direction=direction, **counted) == 0
    for outcome in ("warm", "cold"):
        assert value(metrics, "ttft_seconds_count", model=LLAMA, outcome=outcome) == 0


def test_ten_thousand_unknown_names_share_one_label() -> None:
    metrics = Metrics(max_models=200)
    metrics.observe(Tick(NOW), [], [finished()])
    lines = len(metrics.exposition(engine(), STORE)[0].splitlines())
    for number in range(10_000):
        name = f"made-up-{number}"
        metrics.observe(arrived(name, 60.0, known=False), [], [finished(name, known=False)])
    models = {s.labels["model"] for f in families(metrics).values() for s in f.samples if "model" in s.labels}
    assert models == {LLAMA, "other"}
    assert len(metrics.exposition(engine(), STORE)[0].splitlines()) < 2 * lines


PROMETHEUS_ACCEPTS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


def test_whoever_accepts_openmetrics_gets_the_request_behind_a_bar_of_a_histogram() -> None:
    metrics = everything_happened()
    body, content_type = metrics.exposition(engine(resident()), STORE, PROMETHEUS_ACCEPTS)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    of_ttft = [
        sample.exemplar.labels
        for family in openmetrics_families(body.decode())
        for sample in family.samples
        if sample.name == "keepwarm_ttft_seconds_bucket" and sample.exemplar
    ]
    assert of_ttft == [{"request_id": "1"}] * 2  # the cold and the warm one, both of 4.5 s


def test_a_fast_warm_request_is_no_example_of_anything() -> None:
    metrics = Metrics(max_models=200)
    metrics.observe(Tick(NOW), [], [finished()._replace(ttft_seconds=0.5)])
    assert b"request_id" not in metrics.exposition(engine(), STORE, PROMETHEUS_ACCEPTS)[0]


@pytest.mark.parametrize("accept", ["", "*/*", "text/plain;version=0.0.4", "application/openmetrics", "\0"])
def test_everyone_else_gets_plain_text(accept: str) -> None:
    body, content_type = everything_happened().exposition(engine(), STORE, accept)
    assert content_type.startswith("text/plain")
    assert b"request_id" not in body


def test_both_formats_tell_the_same() -> None:
    metrics = everything_happened()
    plain, _ = metrics.exposition(engine(resident("a:latest")), STORE)
    openmetrics, _ = metrics.exposition(engine(resident("a:latest")), STORE, PROMETHEUS_ACCEPTS)
    assert samples(openmetrics_families(openmetrics.decode())) == samples(
        text_string_to_metric_families(plain.decode())
    )


def samples(families: Iterable[Metric]) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    return {(sample.name, frozenset(sample.labels.items())) for family in families for sample in family.samples}
