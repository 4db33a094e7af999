"""Every metric that is counted while the proxy runs: name, labels, buckets. docs/metrics.md describes the same list.

Never decides when something is counted (that is `metrics.py`) and holds no gauge of the engine's state (`gauges.py`).
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, disable_created_metrics

from proxy import __version__
from proxy.domain.effects import Cause, Outcome
from proxy.domain.events import Ending
from proxy.observe.histogram import Bars, Histogram
from proxy.observe.labels import Children

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_BUCKETS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)
_FINE_BUCKETS: Final = (0.0001, 0.00025, 0.0005, *_BUCKETS)
_GAP_BUCKETS: Final = (
    *(1.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0),
    *(3600.0, 3 * 3600.0, 6 * 3600.0, 12 * 3600.0, 24 * 3600.0),
)

EVICTION_CAUSES: Final = (Cause.EVICTION, Cause.ROOM_AHEAD, Cause.UPSTREAM)
RELOAD_CAUSES: Final = (Cause.RELOAD, Cause.SPILL)
_LOAD_CAUSES: Final = (Cause.COLD, Cause.WARM_UP, *RELOAD_CAUSES)
_TIMED: Final = (Outcome.WARM, Outcome.COLD)
WARM_UP_RESULTS: Final = ("used", "unused")
CLIENT_ERROR: Final = "client_error"
_REFUSALS: Final = ("400", "401", "403", "404", "413", "417", "429", "503")
_RESULTS: Final = (*Outcome, CLIENT_ERROR, Ending.CLIENT_GONE, Ending.UPSTREAM_ERROR)

_Metric = TypeVar("_Metric", Counter, Gauge)


class Meters:
    """The metrics, in a registry of their own."""

    def __init__(self) -> None:
        """Register every metric; those that are there from the start show 0."""
        # Else each counter would have a second time series that only tells its birthday.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests()
        self._residency()
        self._operation()

    def begin(self, model: str) -> None:
        """Let what may happen to a model begin at 0, before it does."""
        for of_cause in (self.load, self.loads):
            of_cause(model, Cause.COLD)
        self.reloads(model, Cause.RELOAD)
        self.evictions(model, Cause.EVICTION)
        for timed in (self.ttft, self.e2e):
            timed(model, Outcome.COLD)
        for timed_once in (self.gap, self.load_wait):
            timed_once(model)
        for seconds in (self.prompt_seconds, self.generation_seconds):
            seconds(model)
        self.warmups(model, WARM_UP_RESULTS[0])
        for event in (self.spilled_bytes, self.expiries, self.explicit_unloads, self.regret, self.management_failures):
            event(model)

    def _add(
        self, kind: type[_Metric], name: str, meaning: str, labels: Sequence[str], together: Iterable[str] = ()
    ) -> Children[_Metric]:
        return Children(kind(f"keepwarm_{name}", meaning, labels, registry=self.registry), together)

    def _histogram(
        self,
        name: str,
        meaning: str,
        labels: Sequence[str] = (),
        buckets: Sequence[float] = _BUCKETS,
        together: Iterable[str] = (),
    ) -> Children[Bars]:
        return Children(Histogram(f"keepwarm_{name}", meaning, labels, self.registry, buckets), together)

    def _requests(self) -> None:
        self.requests = self._add(
            Counter, "requests", "Model requests that are over", ("model", "endpoint", "client", "outcome"), _RESULTS
        )
        self.refused = self._add(
            Counter, "refused_requests", "Requests that keepwarm refused itself", ("status",), _REFUSALS
        )
        self.refused("401")
        self.ttft = self._histogram(
            "ttft_seconds", "Arrival to first byte of the answer's body", ("model", "outcome"), together=_TIMED
        )
        self.e2e = self._histogram("e2e_seconds", "Arrival to end of the answer", ("model", "outcome"), together=_TIMED)
        self.gap = self._histogram("gap_seconds", "From one request for a model to its next", ("model",), _GAP_BUCKETS)
        self.load_wait = self._histogram("load_wait_seconds", "Time cold requests were held", ("model",))
        self.tokens = self._add(
            Counter, "tokens", "Tokens, as Ollama counts them", ("model", "client", "direction"), ("in", "out")
        )
        self.prompt_seconds = self._add(
            Counter, "prompt_evaluation_seconds", "Time that Ollama evaluated prompts", ("model",)
        )
        self.generation_seconds = self._add(
            Counter, "generation_seconds", "Time that Ollama generated tokens", ("model",)
        )
        self.keep_alive_asked = self._add(
            Gauge,
            "keep_alive_asked_seconds",
            "keep_alive the last client that sent one asked for; -1: ever",
            ("model",),
        )

    def _residency(self) -> None:
        self.load = self._histogram("load_seconds", "Duration of the proxy's own loads", ("model", "cause"))
        self.loads = self._add(Counter, "loads", "Models loaded by the proxy", ("model", "cause"), _LOAD_CAUSES)
        self.reloads = self._add(
            Counter, "reloads", "Loads of a model that was resident just before", ("model", "cause"), RELOAD_CAUSES
        )
        self.spilled_bytes = self._add(
            Counter, "spilled_bytes", "Bytes that did not fit on the GPU when a model was loaded", ("model",)
        )
        self.evictions = self._add(
            Counter, "evictions", "Models that left to make room", ("model", "cause"), EVICTION_CAUSES
        )
        self.expiries = self._add(Counter, "expiries", "Models that left because their TTL ran out", ("model",))
        self.explicit_unloads = self._add(
            Counter, "explicit_unloads", "Models that left because a client unloaded them", ("model",)
        )
        self.regret = self._add(Counter, "regret", "Models asked for again soon after their eviction", ("model",))
        self.warmups = self._add(
            Counter, "warmups", "Loads ahead of use that were judged", ("model", "result"), WARM_UP_RESULTS
        )
        self.management_failures = self._add(
            Counter, "management_failures", "Loads and unloads of the proxy that failed", ("model",)
        )

    def _operation(self) -> None:
        self.overhead = self._histogram(
            "overhead_seconds", "Time a request spends in the proxy itself", buckets=_FINE_BUCKETS
        )()
        self.event_loop_lag = self._histogram(
            "event_loop_lag_seconds", "How late a timer fires", buckets=_FINE_BUCKETS
        )()
        self.passthrough = self._add(
            Counter, "passthrough_requests", "Requests that run no model and are over", ("path", "outcome"), Ending
        )
        self.passthrough_in_flight = Gauge(
            "keepwarm_passthrough_requests_in_flight", "Requests that run no model, under way", registry=self.registry
        )
        self.upstream_up = Gauge("keepwarm_upstream_up", "1 if Ollama answers, else 0", registry=self.registry)
        self.config_reloads = self._add(Counter, "config_reloads", "Readings of the settings file", ("result",))
        self.config_reloads("failure")
        self.config_as_file = Gauge(
            "keepwarm_config_last_reload_successful",
            "1 if the settings in force are those of the file",
            registry=self.registry,
        )
        self.config_reloaded_at = Gauge(
            "keepwarm_config_last_reload_success_timestamp_seconds",
            "When settings were last read successfully, unix seconds",
            registry=self.registry,
        )
        build = self._add(Gauge, "build_info", "Always 1; its labels tell the build", ("version", "python"))
        build(__version__, platform.python_version()).set(1)
