"""Turns a finished request into a row that any database takes. Never lets a client's text in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from proxy.store.row import RequestRow

if TYPE_CHECKING:
    from proxy.domain.model import RunnerOptions
    from proxy.domain.timeline import FinishedRequest

_LONGEST_NAME: Final = 255
_INT64_LIMIT: Final = 2**63


def request_row(finished: FinishedRequest) -> RequestRow:
    """Return the row for a request that is over."""
    load_seconds, prompt_tokens, prompt_seconds, generated_tokens, generation_seconds = finished.figures
    return RequestRow(  # by position: with each request, and names take twice as long
        finished.at,
        finished.model[:_LONGEST_NAME].encode("utf-8", "replace").decode(),
        str(finished.endpoint),
        _json(finished.options),
        str(finished.outcome),
        str(finished.ending),
        finished.status,
        finished.ttft_seconds,
        finished.e2e_seconds,
        finished.wait_seconds,
        load_seconds,
        _count(prompt_tokens),
        _count(generated_tokens),
        prompt_seconds,
        generation_seconds,
        finished.client,
    )


def _json(options: RunnerOptions) -> str:
    """Runner options are numbers and booleans; a text among them is a client's mistake and stays out."""
    if not options.values and options.shift is None:
        return "{}"
    values = {key: value for key, value in options.values if isinstance(value, int | float)}
    shift = {} if options.shift is None else {"shift": options.shift}
    return json.dumps({**values, **shift}, sort_keys=True, separators=(",", ":"))


def _count(tokens: int | None) -> int | None:
    return tokens if tokens is not None and 0 <= tokens < _INT64_LIMIT else None
