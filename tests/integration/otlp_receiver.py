"""A receiver of OTLP over HTTP, as a collector is one: it decodes what OpenTelemetry's own exporter sends."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(frozen=True)
class Span:
    """A span as it arrived; ids in hexadecimal, `parent` '' where it has none, times in unix seconds."""

    name: str
    trace: str
    id: str
    parent: str
    began_at: float
    ended_at: float
    attributes: dict[str, Any]
    links: tuple[str, ...]


@dataclass
class OtlpReceiver:
    """What was received so far.

    Attributes:
        url: where it listens.
        bodies: the exports as they came, before decoding.
        resources: attributes of who sent them.
    """

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)

    def of_request(self, request_id: str) -> dict[str, Span]:
        """Return the spans of the trace of a request by their names."""
        roots = (span for span in self.spans if str(span.attributes.get("keepwarm.request_id")) == request_id)
        trace = next(roots).trace
        return {span.name: span for span in self.spans if span.trace == trace}

    async def receive(self, request: web.Request) -> web.Response:
        """Take one export."""
        self.bodies.append(await request.read())
        for of_resource in ExportTraceServiceRequest.FromString(self.bodies[-1]).resource_spans:
            self.resources.append(_attributes(of_resource.resource))
            self.spans += [_span(span) for scope in of_resource.scope_spans for span in scope.spans]
        content = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=content, content_type="application/x-protobuf")


def _span(span: Any) -> Span:
    return Span(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        began_at=span.start_time_unix_nano / 1e9,
        ended_at=span.end_time_unix_nano / 1e9,
        attributes=_attributes(span),
        links=tuple(link.span_id.hex() for link in span.links),
    )


def _attributes(of: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in of.attributes}


@asynccontextmanager
async def otlp_receiver() -> AsyncIterator[OtlpReceiver]:
    """Run one on any free port of this machine."""
    receiver, app = OtlpReceiver(), web.Application()
    app.router.add_post("/v1/traces", receiver.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = "http://{}:{}".format(*runner.addresses[0][:2])
    try:
        yield receiver
    finally:
        await runner.cleanup()
