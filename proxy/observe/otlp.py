"""Sends spans to an OTLP receiver, in batches, from a thread of their own; imported only where tracing is asked for.

A receiver that is slow or gone costs spans, never a request and never memory without bound: OpenTelemetry's processor
keeps 2048 that are to be sent and drops what is more.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from proxy import __version__
from proxy.observe.tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_PATH: Final = "/v1/traces"
_LAST_WORDS_SECONDS: Final = 3.0


@asynccontextmanager
async def tracing_to(endpoint: str) -> AsyncIterator[Tracing]:
    """Send spans while the context is open; on leaving, what is left gets three seconds.

    Args:
        endpoint: URL of the receiver; `/v1/traces` is put behind it unless it is there.
    """
    ours = Resource.create({"service.name": "keepwarm", "service.version": __version__})
    provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint.removesuffix(_PATH) + _PATH)))
    try:
        yield Tracing(provider)
    finally:
        last = threading.Thread(target=provider.shutdown, daemon=True)  # it may wait for half a minute
        last.start()
        await asyncio.to_thread(last.join, _LAST_WORDS_SECONDS)
