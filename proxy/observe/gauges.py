"""What is read from snapshots at each scrape: memory, residents, requests under way, the usage history, the shadow.

Nothing is kept from one scrape to the next, so a model that left leaves no gauge behind. Never asks anyone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client import Metric

    from proxy.domain.snapshot import EngineSnapshot, ResidentSnapshot, SavedSnapshot, StoreSnapshot
    from proxy.observe.labels import LabelNames

    _ValueOf = Callable[[ResidentSnapshot], float | None]
    _Merge = Callable[[list[float]], float]  # for the residents that share the label `other`


def gauges(
    engine: EngineSnapshot, store: StoreSnapshot, saved: SavedSnapshot | None, names: LabelNames
) -> Iterator[Metric]:
    """Yield all families, also those that have no value now."""
    yield from _engine_gauges(engine)
    yield from _resident_gauges(engine, names)
    yield from _store_gauges(store)
    yield _waits(saved)


def _engine_gauges(engine: EngineSnapshot) -> Iterator[Metric]:
    yield _gauge("requests_in_flight", "Model requests forwarded and not over", engine.in_flight)
    yield _gauge("requests_waiting", "Model requests that are held", engine.waiting)
    yield _gauge("longest_wait_seconds", "How long the oldest held request waits; 0: none", engine.longest_wait_seconds)
    yield _gauge("residents", "Resident models", len(engine.residents))
    yield _gauge("residents_limit", "Models that Ollama keeps loaded at once", engine.max_models)
    yield _gauge(
        "memory_budget_bytes", "Memory that models may take; absent while it is not known", engine.budget_bytes
    )
    yield _gauge("memory_used_bytes", "Memory of all residents", engine.used_bytes)
    yield _gauge("memory_headroom_bytes", "What is free of the budget", engine.headroom_bytes)
    yield _gauge("memory_price_seconds", "Seconds of waiting one GiB.hour of idle memory is worth", engine.price)


def _resident_gauges(engine: EngineSnapshot, names: LabelNames) -> Iterator[Metric]:
    def expiry(resident: ResidentSnapshot) -> float:
        return math.inf if resident.expires_at is None else resident.expires_at - engine.at

    of_model: tuple[tuple[str, str, _ValueOf, _Merge], ...] = (
        ("resident_bytes", "Memory of the whole model", lambda resident: resident.bytes, sum),
        ("resident_vram_bytes", "The part of it that is on the GPU", lambda resident: resident.vram_bytes, sum),
        ("resident_expiry_seconds", "Time until Ollama unloads it; +Inf: never", expiry, min),
        ("resident_busy_requests", "Requests that run on it now", lambda resident: resident.busy, sum),
        ("resident_worth_seconds", "Waiting that keeping it saves per GiB.hour", lambda resident: resident.worth, max),
        ("keep_alive_applied_seconds", "keep_alive last given to Ollama; -1: ever", _keep_alive, min),
    )
    for name, meaning, value_of, merge in of_model:
        values: dict[str, list[float]] = {}
        for resident in engine.residents:
            value = value_of(resident)
            if value is not None:
                values.setdefault(names.label(resident.model), []).append(value)
        family = GaugeMetricFamily(f"keepwarm_{name}", meaning, labels=("model",))
        for label, several in values.items():
            family.add_metric((label,), merge(several))
        yield family


def _keep_alive(resident: ResidentSnapshot) -> float | None:
    return None if resident.keep_alive is None else max(-1, resident.keep_alive)


def _store_gauges(store: StoreSnapshot) -> Iterator[Metric]:
    yield _gauge("store_up", "1 if the last write reached the usage history, else 0", store.up)
    yield _gauge("store_pending_rows", "Rows that wait to be written", store.pending_rows)
    yield CounterMetricFamily("keepwarm_store_dropped_rows", "Rows given up, too many waited", store.dropped_rows)


def _waits(saved: SavedSnapshot | None) -> Metric:
    family = CounterMetricFamily(
        "keepwarm_shadow_wait_seconds", "Waiting for models, with keepwarm and with Ollama alone", labels=("policy",)
    )
    if saved is not None:
        family.add_metric(("keepwarm",), saved.since_start.waited_seconds)
        family.add_metric((saved.policy,), saved.since_start.alone_seconds)
    return family


def _gauge(name: str, meaning: str, value: float | None) -> Metric:
    return GaugeMetricFamily(f"keepwarm_{name}", meaning, value=value)
