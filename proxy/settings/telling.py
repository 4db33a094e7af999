"""The sections about what keepwarm tells of its work, and remembers: metrics, history, log, traces.

As in `sections`, the descriptions here are the only ones.
"""

from importlib.util import find_spec
from typing import Self

from pydantic import model_validator

from proxy.settings.sections import Section, conflict, key
from proxy.settings.values import Count, LogFormat, LogLevel, PositiveDuration, StorePath, Switch, TracingEndpoint


class Metrics(Section):
    """What Prometheus is told."""

    max_models: Count = key(
        200,
        "Most model names that get labels of their own; all others share one label, so that clients cannot flood it.",
    )


class Store(Section):
    """What is remembered over restarts; never a prompt or an answer."""

    path: StorePath = key(
        "auto", "SQLite file; '~' is the home folder. auto: keepwarm/usage.sqlite in the user's state directory."
    )
    retention: PositiveDuration = key("30d", "How long the row that is written per request is kept.")


class Log(Section):
    """What is written to standard error."""

    level: LogLevel = key("info", "Least important messages to write: debug, info, warning, error.")
    format: LogFormat = key("text", "text: for people; json: one object a line.")
    access: Switch = key(default=False, description="true: a line for each request that is over, whatever the level.")


class Tracing(Section):
    """Spans of OpenTelemetry: request, hold, load, upstream; never a prompt or an answer."""

    endpoint: TracingEndpoint = key(
        "none",
        "Where to send them: OTLP over HTTP, such as http://127.0.0.1:4318. Needs the extra keepwarm[otel].\n"
        "OpenTelemetry's own variables say the rest, such as OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER and\n"
        "OTEL_EXPORTER_OTLP_HEADERS.",
    )

    @model_validator(mode="after")
    def _can_be_sent(self) -> Self:
        if self.endpoint is not None and not _is_installed(
            "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"
        ):
            message = (
                f"expected none, or OpenTelemetry to be installed: pip install 'keepwarm[otel]' (got {self.endpoint})"
            )
            raise conflict(message, ("endpoint",))
        return self


def _is_installed(*packages: str) -> bool:
    try:
        return all(find_spec(package) for package in packages)
    except ModuleNotFoundError:  # not even what holds them
        return False
