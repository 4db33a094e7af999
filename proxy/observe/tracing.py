"""Spans of OpenTelemetry, made from events and effects: request, hold, unload, load, upstream.

Imported only where tracing is asked for: it needs the extra keepwarm[otel]. Never sees a body, a prompt or an answer,
and never waits: a span that is over is handed to its provider.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from proxy import __version__
from proxy.domain.effects import Forward, Load, Loaded, Outcome, Unload
from proxy.domain.events import (
    Ending,
    LoadEnded,
    RequestArrived,
    RequestEnded,
    ResidentsObserved,
    ResidentsUnknown,
    ResponseStarted,
    UnloadEnded,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.trace import Span, TracerProvider

    from proxy.domain.effects import Effect
    from proxy.domain.events import Happening

_LONGEST_TEXT: Final = 200
_W3C: Final = TraceContextTextMapPropagator()


@dataclass(slots=True)
class _Live:
    """A request that is not over; `phase` is the span of what it is in: held, or upstream."""

    request: Span
    phase: Span | None = None


@dataclass(slots=True)
class _Step:
    """The load or unload that is under way, there is one at a time; `ended_at` None: it is not over."""

    span: Span
    request_id: int | None
    ended_at: float | None = None


class Tracing:
    """Follows requests, and the loads and unloads that they wait for."""

    def __init__(self, provider: TracerProvider, max_live: int = 65_536) -> None:
        """Follow at most `max_live` requests at once; the oldest is no longer followed when one more arrives."""
        self._tracer = provider.get_tracer("keepwarm", __version__)
        self._max_live = max_live
        self._live: dict[int, _Live] = {}
        self._step: _Step | None = None

    def begin(self, request_id: int, at: float, headers: Mapping[str, str]) -> None:
        """Begin with a request, before it arrives, in the trace that its client's `traceparent` names, or its own."""
        if len(self._live) >= self._max_live:
            del self._live[next(iter(self._live))]
        context = _W3C.extract(headers)
        span = self._tracer.start_span("request", context, SpanKind.SERVER, start_time=_nanoseconds(at))
        self._live[request_id] = _Live(span)

    def headers(self, request_id: int) -> dict[str, str]:
        """Return the headers by which the upstream joins the trace of a request that was forwarded."""
        headers: dict[str, str] = {}
        live = self._live.get(request_id)
        if live is not None and live.phase is not None:
            _W3C.inject(headers, set_span_in_context(live.phase))
        return headers

    def observe(self, happening: Happening, effects: Sequence[Effect]) -> None:
        """Take in what happened, and what the engine made of it."""
        at = happening.at
        match happening:
            case RequestArrived():
                self._arrived(happening, effects)
            case ResponseStarted(request_id=request_id):
                live = self._live.get(request_id)
                if live is not None and live.phase is not None:
                    live.phase.add_event("first byte", timestamp=_nanoseconds(at))
            case LoadEnded(error=error) | UnloadEnded(error=error) if self._step is not None:
                self._step.ended_at = at
                if error is not None:
                    self._step.span.set_status(StatusCode.ERROR, error[:_LONGEST_TEXT])
            case RequestEnded():
                self._ended(happening)
        for effect in effects:
            self._take(effect, at)
        if isinstance(happening, UnloadEnded | ResidentsObserved | ResidentsUnknown):  # they tell how a load went
            self._end_step()

    def _take(self, effect: Effect, at: float) -> None:
        match effect:
            case Forward():
                self._forwarded(effect, at)
            case Load() | Unload():
                self._begin_step(effect, at)
            case Loaded(cause=cause, bytes=size, spilled_bytes=spilled) if self._step is not None:
                self._step.span.set_attributes(
                    {"keepwarm.cause": cause, "keepwarm.bytes": size, "keepwarm.spilled_bytes": spilled}
                )

    def _arrived(self, arrived: RequestArrived, effects: Sequence[Effect]) -> None:
        live = self._live.get(arrived.request_id)
        if live is None:
            return
        request = arrived.request
        live.request.update_name(f"POST {request.endpoint}")
        live.request.set_attributes(
            {
                "http.request.method": "POST",
                "http.route": request.endpoint,
                "gen_ai.request.model": request.model[:_LONGEST_TEXT],
                "keepwarm.request_id": arrived.request_id,
            }
        )
        if not any(isinstance(effect, Forward) and effect.request_id == arrived.request_id for effect in effects):
            live.phase = self._child_of(live.request, "hold", SpanKind.INTERNAL, arrived.at)

    def _forwarded(self, forward: Forward, at: float) -> None:
        live = self._live.get(forward.request_id)
        if live is None:
            return
        if live.phase is not None:
            step = self._step
            if forward.outcome is Outcome.COLD and step is not None and step.request_id != forward.request_id:
                live.phase.add_link(step.span.get_span_context())  # it waited for a load that was another's
            live.phase.end(_nanoseconds(at))
        live.request.set_attributes(
            {
                "keepwarm.outcome": forward.outcome,
                "keepwarm.keep_alive": str(forward.keep_alive),
                "keepwarm.reason": forward.reason,
            }
        )
        live.phase = self._child_of(live.request, "upstream", SpanKind.CLIENT, at)

    def _ended(self, ended: RequestEnded) -> None:
        live = self._live.pop(ended.request_id, None)
        if live is None:
            return
        figures = {
            "http.response.status_code": ended.status or None,
            "gen_ai.usage.input_tokens": ended.figures.prompt_tokens,
            "gen_ai.usage.output_tokens": ended.figures.generated_tokens,
        }
        live.request.set_attributes({name: value for name, value in figures.items() if value is not None})
        live.request.set_attribute("keepwarm.ending", ended.ending)
        failed = ended.ending is Ending.UPSTREAM_ERROR or ended.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        for span in filter(None, (live.phase, live.request)):
            if failed:
                span.set_status(StatusCode.ERROR)
            span.end(_nanoseconds(ended.at))

    def _begin_step(self, effect: Load | Unload, at: float) -> None:
        self._end_step()
        live = None if effect.request_id is None else self._live.get(effect.request_id)
        parent = None if live is None else live.phase
        span = self._child_of(parent, type(effect).__name__.lower(), SpanKind.CLIENT, at)
        span.set_attributes({"gen_ai.request.model": effect.model[:_LONGEST_TEXT], "keepwarm.reason": effect.reason})
        self._step = _Step(span, effect.request_id)

    def _end_step(self) -> None:
        if self._step is not None and self._step.ended_at is not None:
            self._step.span.end(_nanoseconds(self._step.ended_at))
            self._step = None

    def _child_of(self, parent: Span | None, name: str, kind: SpanKind, at: float) -> Span:
        context = None if parent is None else set_span_in_context(parent)
        return self._tracer.start_span(name, context, kind, start_time=_nanoseconds(at))


def _nanoseconds(at: float) -> int:
    return int(at * 1e9)
