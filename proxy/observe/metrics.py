"""Counts what happens: from events, effects and finished requests, and from the few things that only the server knows.

Never decides anything and never labels a time series with text that a client made up.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from proxy.domain.effects import Cause, Left, Loaded, ManagementFailed, Outcome, Regretted, WarmedUp
from proxy.domain.events import Ending, RequestArrived
from proxy.observe.gaps import Gaps
from proxy.observe.gauges import gauges
from proxy.observe.labels import LabelNames, path_class
from proxy.observe.meters import CLIENT_ERROR, EVICTION_CAUSES, RELOAD_CAUSES, WARM_UP_RESULTS, Meters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client import CollectorRegistry, Metric

    from proxy.domain.effects import Effect
    from proxy.domain.events import AnswerFigures, Event
    from proxy.domain.snapshot import EngineSnapshot, SavedSnapshot, StoreSnapshot
    from proxy.domain.timeline import FinishedRequest

_COUNTED_AT_ONCE: Final = 32
_MAX_CLIENTS: Final = 100
_SLOW_SECONDS: Final = 1.0
_OPENMETRICS: Final = "application/openmetrics-text"


class Metrics:
    """All metrics of the proxy. docs/metrics.md says what each of them means."""

    def __init__(self, max_models: int) -> None:
        """At most `max_models` models (>= 0) get a label of their own, the rest share `model="other"`."""
        self._meters = Meters()
        self._names = LabelNames(max_models, self._meters.begin)
        self._clients = LabelNames(_MAX_CLIENTS)
        self._begun: set[tuple[str, str, str]] = set()
        self._gaps = Gaps(self._meters.gap)
        self._counts: dict[type[Effect], Callable[..., None]] = {
            Loaded: self._loaded,
            Left: self._left,
            Regretted: self._regretted,
            WarmedUp: self._warmed_up,
            ManagementFailed: self._failed,
        }
        self._uncounted: list[FinishedRequest] = []
        self._overheads: list[float] = []

    def observe(self, event: Event, effects: Iterable[Effect], finished: Iterable[FinishedRequest]) -> None:
        """Count one event, what the engine made of it, and the requests that `Timelines` found to be over with it."""
        if isinstance(event, RequestArrived):
            self._arrived(event)
        for effect in effects:
            count = self._counts.get(type(effect))
            if count is not None:  # not what happens with every request
                count(effect)
        self._uncounted.extend(finished)
        if len(self._uncounted) >= _COUNTED_AT_ONCE:
            self._count()

    def overhead(self, seconds: float) -> None:
        """Count what the proxy itself added to one request, waiting for a load or for Ollama excluded."""
        self._overheads.append(seconds)

    def event_loop_lag(self, seconds: float) -> None:
        """Count how late a timer of the event loop fired."""
        self._meters.event_loop_lag.observe(seconds)

    def passthrough_started(self) -> None:
        """Count a request that runs no model as under way."""
        self._meters.passthrough_in_flight.inc()

    def passthrough_ended(self, path: str, ending: Ending) -> None:
        """Count it as over. `path` is the client's own; only its class becomes a label."""
        self._meters.passthrough_in_flight.dec()
        self._meters.passthrough(path_class(path), ending).inc()

    def refused(self, status: int) -> None:
        """Count a request that keepwarm itself refused with this status, before it reached Ollama."""
        self._meters.refused(str(status)).inc()

    def upstream_up(self, *, up: bool) -> None:
        """Note whether Ollama answered."""
        self._meters.upstream_up.set(up)

    def config_reloaded(self, at: float) -> None:
        """Count a reading of the settings file that succeeded at this time, unix seconds; the first one too."""
        self._meters.config_reloads("success").inc()
        self._meters.config_reloaded_at.set(at)
        self._meters.config_as_file.set(1)

    def config_refused(self) -> None:
        """Count a reading of the settings file that failed: the last good settings stay."""
        self._meters.config_reloads("failure").inc()
        self._meters.config_as_file.set(0)

    def exposition(
        self, engine: EngineSnapshot, store: StoreSnapshot, accept: str = "", saved: SavedSnapshot | None = None
    ) -> tuple[bytes, str]:
        """Return all metrics and the content type: OpenMetrics with exemplars if `accept` names it, else plain text.

        It takes about 7 µs per line, 15 µs as OpenMetrics (200 models that are used warm and cold: 30,000 lines), and
        may be called from another thread.
        """
        self._count()
        scrape = _Scrape(self._meters.registry, gauges(engine, store, saved, self._names))
        if _OPENMETRICS in accept.lower():
            body: bytes = openmetrics.generate_latest(scrape)  # type: ignore[no-untyped-call]
            return body, openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(scrape), CONTENT_TYPE_LATEST

    def _arrived(self, event: RequestArrived) -> None:
        request = event.request
        label = self._names.label(request.model, known=event.facts is not None)
        client = self._clients.label(event.client)
        if (begun := (label, request.endpoint, client)) not in self._begun:  # at 0 before it is known how it ends
            self._begun.add(begun)
            self._meters.requests(*begun, Outcome.COLD)
            self._meters.tokens(label, client, "in")
        if request.keep_alive is not None:
            self._meters.keep_alive_asked(label).set(max(-1.0, request.keep_alive))

    def _regretted(self, regretted: Regretted) -> None:
        self._meters.regret(self._names.label(regretted.model)).inc()

    def _warmed_up(self, warmed_up: WarmedUp) -> None:
        self._meters.warmups(self._names.label(warmed_up.model), WARM_UP_RESULTS[not warmed_up.used]).inc()

    def _failed(self, failed: ManagementFailed) -> None:
        self._meters.management_failures(self._names.label(failed.model)).inc()

    def _loaded(self, loaded: Loaded) -> None:
        label = self._names.label(loaded.model)
        self._meters.loads(label, loaded.cause).inc()
        self._meters.load(label, loaded.cause).observe(loaded.seconds)
        self._meters.spilled_bytes(label).inc(loaded.spilled_bytes)
        if loaded.cause in RELOAD_CAUSES:
            self._meters.reloads(label, loaded.cause).inc()

    def _left(self, left: Left) -> None:
        label = self._names.label(left.model)
        if left.cause in EVICTION_CAUSES:
            self._meters.evictions(label, left.cause).inc()
        elif left.cause is Cause.EXPIRY:
            self._meters.expiries(label).inc()
        elif left.cause is Cause.CLIENT:
            self._meters.explicit_unloads(label).inc()

    def _count(self) -> None:
        """Count the requests that are over: many in a row cost a third of what one now and then does."""
        uncounted, self._uncounted = self._uncounted, []
        overheads, self._overheads = self._overheads, []
        alike: defaultdict[tuple[str, str, str, str], list[FinishedRequest]] = defaultdict(list)
        for request in uncounted:
            label = self._names.label(request.model, known=request.known)
            self._gaps.used(label, request.at)
            alike[label, request.endpoint, self._clients.label(request.client), _result(request)].append(request)
        for labels, requests in alike.items():
            self._add(*labels, requests)
        for seconds in overheads:
            self._meters.overhead.observe(seconds)

    def _add(self, label: str, endpoint: str, client: str, result: str, requests: list[FinishedRequest]) -> None:
        """Count requests with the same labels: counters are locked, so each is counted up as rarely as can be."""
        meters, sums = self._meters, _Sums()
        for request in requests:
            sums.add(request.figures)
            if request.outcome is Outcome.COLD:
                meters.load_wait(label).observe(request.wait_seconds, _exemplar(request))
            if result == request.outcome:
                meters.e2e(label, result).observe(request.e2e_seconds)
                if request.ttft_seconds is not None:
                    meters.ttft(label, result).observe(request.ttft_seconds, _exemplar(request))
        meters.requests(label, endpoint, client, result).inc(len(requests))
        meters.tokens(label, client, "in").inc(sums.prompt_tokens)
        meters.tokens(label, client, "out").inc(sums.generated_tokens)
        meters.prompt_seconds(label).inc(sums.prompt_seconds)
        meters.generation_seconds(label).inc(sums.generation_seconds)


@dataclass(slots=True)
class _Sums:
    """What the figures of some requests come to; one that makes no sense is left out, a counter refuses to fall."""

    prompt_tokens: int = 0
    generated_tokens: int = 0
    prompt_seconds: float = 0.0
    generation_seconds: float = 0.0

    def add(self, figures: AnswerFigures) -> None:
        """Add one request."""
        self.prompt_tokens += max(0, figures.prompt_tokens or 0)
        self.generated_tokens += max(0, figures.generated_tokens or 0)
        self.prompt_seconds += max(0.0, figures.prompt_seconds or 0.0)
        self.generation_seconds += max(0.0, figures.generation_seconds or 0.0)


class _Scrape(Collector):
    """What is counted and what is read from snapshots, as one."""

    def __init__(self, registry: CollectorRegistry, families: Iterable[Metric]) -> None:
        self._registry = registry
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._registry.collect()
        yield from self._families


def _exemplar(request: FinishedRequest) -> dict[str, str] | None:
    """What leads from a bar of a histogram to the log; None for what nobody looks for: a fast warm request."""
    if request.outcome is Outcome.COLD or (request.ttft_seconds or 0.0) >= _SLOW_SECONDS:
        return {"request_id": str(request.request_id)}
    return None


def _result(request: FinishedRequest) -> str:
    """The `outcome` label: what the request met if it was answered well, else what went wrong."""
    if request.ending is not Ending.ANSWERED:
        return request.ending
    if request.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Ending.UPSTREAM_ERROR
    return CLIENT_ERROR if request.status >= HTTPStatus.BAD_REQUEST else request.outcome
