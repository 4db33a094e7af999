import math

from proxy.domain.snapshot import EngineSnapshot, SavedSnapshot, StoreSnapshot
from proxy.observe.gauges import gauges
from proxy.observe.labels import LabelNames
from tests.unit.observe.samples import NOW, SAVED, STORE, engine, resident


def shown(
    snapshot: EngineSnapshot, names: LabelNames | None = None, store: StoreSnapshot = STORE
) -> dict[tuple[str, str | None], float]:
    return {
        (sample.name.removeprefix("keepwarm_"), sample.labels.get("model")): sample.value
        for family in gauges(snapshot, store, SAVED, names or LabelNames(200))
        for sample in family.samples
    }


def test_memory_and_requests_under_way_are_shown() -> None:
    values = shown(engine(resident()))
    assert values["memory_budget_bytes", None] == 20_000
    assert values["memory_used_bytes", None] == 6_000
    assert values["memory_headroom_bytes", None] == 14_000
    assert values["memory_price_seconds", None] == 0.005
    assert values["requests_in_flight", None] == 3
    assert values["requests_waiting", None] == 2
    assert values["longest_wait_seconds", None] == 7.0
    assert values["residents", None] == 1
    assert values["residents_limit", None] == 3


def test_an_unknown_budget_is_absent_rather_than_zero() -> None:
    values = shown(engine(budget_bytes=None))
    assert ("memory_budget_bytes", None) not in values
    assert ("memory_headroom_bytes", None) not in values


def test_a_resident_shows_its_memory_and_the_time_it_has_left() -> None:
    values = shown(engine(resident("a:latest", expires_at=NOW + 90)))
    assert values["resident_bytes", "a:latest"] == 6_000
    assert values["resident_vram_bytes", "a:latest"] == 5_000
    assert values["resident_busy_requests", "a:latest"] == 1
    assert values["resident_worth_seconds", "a:latest"] == 0.9
    assert values["resident_expiry_seconds", "a:latest"] == 90.0
    assert values["keep_alive_applied_seconds", "a:latest"] == 90


def test_for_ever_is_infinite_time_and_a_keep_alive_of_minus_one() -> None:
    values = shown(engine(resident("a:latest", expires_at=None, keep_alive=-300)))
    assert values["resident_expiry_seconds", "a:latest"] == math.inf
    assert values["keep_alive_applied_seconds", "a:latest"] == -1


def test_a_resident_that_we_gave_no_keep_alive_shows_none() -> None:
    assert ("keep_alive_applied_seconds", "a:latest") not in shown(engine(resident("a:latest", keep_alive=None)))


def test_the_gauges_of_a_model_vanish_when_it_leaves() -> None:
    names = LabelNames(200)
    assert any(model == "a:latest" for _, model in shown(engine(resident("a:latest")), names))
    assert not any(model == "a:latest" for _, model in shown(engine(), names))


def test_residents_that_share_a_label_add_up_and_show_the_shortest_time() -> None:
    several = (resident("a:latest", expires_at=NOW + 90), resident("b:latest", expires_at=NOW + 30))
    values = shown(engine(*several), LabelNames(0))
    assert values["resident_bytes", "other"] == 12_000
    assert values["resident_expiry_seconds", "other"] == 30.0


def test_the_usage_history_shows_how_it_fares() -> None:
    values = shown(engine(), store=StoreSnapshot(up=False, pending_rows=7, dropped_rows=9))
    assert values["store_up", None] == 0
    assert values["store_pending_rows", None] == 7
    assert values["store_dropped_rows_total", None] == 9


def waits(saved: SavedSnapshot | None) -> dict[str, float]:
    families = gauges(engine(), STORE, saved, LabelNames(200))
    samples = (sample for family in families for sample in family.samples)
    return {sample.labels["policy"]: sample.value for sample in samples if "policy" in sample.labels}


def test_waiting_is_counted_since_the_start_for_keepwarm_and_for_ollama_alone() -> None:
    assert waits(SAVED) == {"keepwarm": 60.0, "ollama": 90.0}


def test_without_the_shadow_nothing_is_compared() -> None:
    assert waits(None) == {}
