"""Spans as OpenTelemetry's own SDK has them, without a receiver."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from proxy.domain.effects import Cause, Effect, Forward, Load, Loaded, ManagementFailed, Outcome, Unload
from proxy.domain.events import (
    AnswerFigures,
    Ending,
    LoadEnded,
    RequestArrived,
    RequestEnded,
    ResidentsObserved,
    ResponseStarted,
    Tick,
    UnloadEnded,
)
from proxy.domain.model import Endpoint, ModelRequest, RunnerOptions
from proxy.observe.tracing import Tracing

T0 = 1_800_000_000.0
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CLIENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
OPTIONS = RunnerOptions((("num_ctx", 8192), ("num_gpu", "a client's text")))


class Traced(NamedTuple):
    """A Tracing and what it made."""

    tracing: Tracing
    exporter: InMemorySpanExporter

    def asks(self, request_id: int, at: float, *effects: Effect, headers: dict[str, str] | None = None) -> None:
        self.tracing.begin(request_id, at, headers or {})
        request = ModelRequest("qwen3:14b", Endpoint.CHAT, OPTIONS)
        self.tracing.observe(RequestArrived(at, request_id, request, None), effects)

    def ended(self, request_id: int, at: float, ending: Ending = Ending.ANSWERED, status: int = 200) -> None:
        self.tracing.observe(RequestEnded(at, request_id, ending, status, AnswerFigures(generated_tokens=40)), [])

    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self.exporter.get_finished_spans()}


@pytest.fixture
def traced() -> Iterator[Traced]:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield Traced(Tracing(provider), exporter)
    provider.shutdown()


def forward(request_id: int, outcome: Outcome = Outcome.WARM) -> Forward:
    return Forward(request_id, outcome, 2832, "used 31/h")


def load(request_id: int | None) -> Load:
    return Load(
        "qwen3:14b",
        "qwen3:14b",
        OPTIONS,
        embedding_only=False,
        keep_alive=60,
        reason="asked for",
        request_id=request_id,
    )


def unload(request_id: int | None) -> Unload:
    return Unload("llama3:latest", "llama3:latest", Cause.EVICTION, "room for qwen3:14b", request_id)


def seconds(span: ReadableSpan) -> tuple[float, float]:
    assert span.start_time is not None
    assert span.end_time is not None
    return tuple(round(at / 1e9 - T0, 3) for at in (span.start_time, span.end_time))  # type: ignore[return-value]


def parent(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def span_id(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


def test_a_warm_request_has_a_span_upstream_and_is_not_held(traced: Traced) -> None:
    traced.asks(1, T0, forward(1))
    traced.tracing.observe(ResponseStarted(T0 + 0.5, 1), [])
    traced.ended(1, T0 + 2)
    spans = traced.spans()
    assert set(spans) == {"POST /api/chat", "upstream"}
    request, upstream = spans["POST /api/chat"], spans["upstream"]
    assert (request.kind, upstream.kind) == (SpanKind.SERVER, SpanKind.CLIENT)
    assert (parent(request), parent(upstream)) == (None, span_id(request))
    assert [(event.name, event.timestamp / 1e9 - T0) for event in upstream.events] == [("first byte", 0.5)]
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/api/chat",
        "http.response.status_code": 200,
        "gen_ai.request.model": "qwen3:14b",
        "gen_ai.usage.output_tokens": 40,
        "keepwarm.request_id": 1,
        "keepwarm.outcome": "warm",
        "keepwarm.keep_alive": "2832",
        "keepwarm.reason": "used 31/h",
        "keepwarm.ending": "answered",
    }


def test_a_cold_request_is_held_while_a_victim_leaves_and_its_model_is_loaded(traced: Traced) -> None:
    traced.asks(1, T0, unload(1))
    traced.tracing.observe(UnloadEnded(T0 + 1, "llama3:latest", 1.0), [load(1)])
    traced.tracing.observe(LoadEnded(T0 + 6, "qwen3:14b", 5.0), [])
    loaded = Loaded("qwen3:14b", Cause.COLD, 5.0, 9_000, 100, 1)
    traced.tracing.observe(ResidentsObserved(T0 + 6.5, T0 + 6, ()), [loaded, forward(1, Outcome.COLD)])
    traced.ended(1, T0 + 9)
    spans = traced.spans()
    request, hold = spans["POST /api/chat"], spans["hold"]
    assert {name: seconds(span) for name, span in spans.items()} == {
        "POST /api/chat": (0, 9),
        "hold": (0, 6.5),
        "unload": (0, 1),
        "load": (1, 6),
        "upstream": (6.5, 9),
    }
    assert [parent(spans[name]) for name in ("hold", "upstream")] == [span_id(request)] * 2
    assert [parent(spans[name]) for name in ("unload", "load")] == [span_id(hold)] * 2
    assert spans["load"].attributes == {
        "gen_ai.request.model": "qwen3:14b",
        "keepwarm.reason": "asked for",
        "keepwarm.cause": "cold",
        "keepwarm.bytes": 9_000,
        "keepwarm.spilled_bytes": 100,
    }
    assert not hold.links


def test_who_waited_for_the_load_of_another_request_is_linked_to_it(traced: Traced) -> None:
    traced.asks(1, T0, load(1))
    traced.asks(2, T0 + 1)
    traced.tracing.observe(LoadEnded(T0 + 6, "qwen3:14b", 6.0), [])
    effects = [Loaded("qwen3:14b", Cause.COLD, 6.0, 9_000, 0, 1), forward(1, Outcome.COLD), forward(2, Outcome.COLD)]
    traced.tracing.observe(ResidentsObserved(T0 + 6, T0 + 6, ()), effects)
    links = {seconds(span)[0]: span.links for span in traced.exporter.get_finished_spans() if span.name == "hold"}
    assert links[0.0] == ()
    assert [link.context.span_id for link in links[1.0]] == [span_id(traced.spans()["load"])]


def test_the_clients_trace_goes_on_through_keepwarm_to_the_upstream(traced: Traced) -> None:
    traced.asks(1, T0, forward(1), headers=CLIENT)
    sent = traced.tracing.headers(1)
    traced.ended(1, T0 + 1)
    spans = traced.spans()
    assert parent(spans["POST /api/chat"]) == int(PARENT, 16)
    assert sent == {"traceparent": f"00-{TRACE}-{span_id(spans['upstream']):016x}-01"}


def test_a_trace_that_the_client_does_not_record_is_not_recorded_here_but_goes_on(traced: Traced) -> None:
    traced.asks(1, T0, forward(1), headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    sent = traced.tracing.headers(1)["traceparent"]
    traced.ended(1, T0 + 1)
    assert sent.startswith(f"00-{TRACE}-")
    assert sent.endswith("-00")
    assert traced.spans() == {}


@pytest.mark.parametrize("sent", ["", "nonsense", f"00-{'0' * 32}-{PARENT}-01", "00-" + "f" * 10_000])
def test_a_traceparent_that_makes_no_sense_is_none(sent: str, traced: Traced) -> None:
    traced.asks(1, T0, forward(1), headers={"traceparent": sent})
    traced.ended(1, T0 + 1)
    assert parent(traced.spans()["POST /api/chat"]) is None


@pytest.mark.parametrize(
    ("ending", "status", "code"),
    [
        (Ending.ANSWERED, 404, StatusCode.UNSET),
        (Ending.ANSWERED, 500, StatusCode.ERROR),
        (Ending.UPSTREAM_ERROR, 502, StatusCode.ERROR),
        (Ending.CLIENT_GONE, 0, StatusCode.UNSET),
    ],
)
def test_only_what_the_upstream_or_keepwarm_did_wrong_is_an_error(
    ending: Ending, status: int, code: StatusCode, traced: Traced
) -> None:
    traced.asks(1, T0, forward(1))
    traced.ended(1, T0 + 1, ending, status)
    assert {span.status.status_code for span in traced.exporter.get_finished_spans()} == {code}


def test_a_client_that_leaves_while_it_is_held_ends_the_hold_but_not_the_load(traced: Traced) -> None:
    traced.asks(1, T0, load(1))
    traced.ended(1, T0 + 2, Ending.CLIENT_GONE, 0)
    assert {name: seconds(span) for name, span in traced.spans().items()} == {"POST /api/chat": (0, 2), "hold": (0, 2)}
    traced.tracing.observe(LoadEnded(T0 + 6, "qwen3:14b", 6.0), [])
    traced.tracing.observe(ResidentsObserved(T0 + 6, T0 + 6, ()), [])
    assert seconds(traced.spans()["load"]) == (0, 6)
    assert parent(traced.spans()["load"]) == span_id(traced.spans()["hold"])


def test_a_load_that_fails_is_an_error_with_its_reason(traced: Traced) -> None:
    traced.asks(1, T0, load(1))
    failed = ManagementFailed("qwen3:14b", "loading qwen3:14b", "out of memory", 1)
    passed = forward(1, Outcome.PASSTHROUGH)
    traced.tracing.observe(LoadEnded(T0 + 6, "qwen3:14b", 6.0, "out of memory"), [failed, passed])
    traced.tracing.observe(ResidentsObserved(T0 + 7, T0 + 7, ()), [])
    span = traced.spans()["load"]
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "out of memory")
    assert seconds(span) == (0, 6)
    assert not traced.spans()["hold"].links


def test_what_is_done_for_no_request_is_a_trace_of_its_own(traced: Traced) -> None:
    traced.tracing.observe(Tick(T0), [unload(None)])
    traced.tracing.observe(UnloadEnded(T0 + 1, "llama3:latest", 1.0, "it is still there"), [])
    (span,) = traced.exporter.get_finished_spans()
    assert (span.name, parent(span), span.status.status_code) == ("unload", None, StatusCode.ERROR)


def test_what_a_client_made_up_is_cut_and_its_options_are_left_out(traced: Traced) -> None:
    traced.tracing.begin(1, T0, {})
    request = ModelRequest("x" * 60_000, Endpoint.CHAT, OPTIONS)
    traced.tracing.observe(RequestArrived(T0, 1, request, None), [load(1)])
    traced.ended(1, T0 + 1, Ending.CLIENT_GONE, 0)
    text = "".join(span.to_json() for span in traced.exporter.get_finished_spans())
    assert "client's text" not in text
    assert len(text) < 5_000


def test_no_more_than_max_live_requests_are_followed() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    few = Traced(Tracing(provider, max_live=2), exporter)
    for request_id in (1, 2, 3):
        few.asks(request_id, T0, forward(request_id))
    assert few.tracing.headers(1) == {}
    for request_id in (1, 2, 3):
        few.ended(request_id, T0 + request_id)
    provider.shutdown()
    assert [span.attributes["keepwarm.request_id"] for span in exporter.get_finished_spans() if span.attributes] == [
        2,
        3,
    ]
