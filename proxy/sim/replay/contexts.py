"""Which context length would have spared reloads: clients that ask one model for different ones make Ollama reload it.

Reads the requests as they were; replays know nothing of options.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.store.row import RequestRow

_NATIVE = "/api/"


@dataclass(frozen=True, slots=True)
class ContextAdvice:
    """The context length that all clients of a model should ask for.

    Attributes:
        model: canonical name.
        num_ctx: tokens, the longest that was asked for.
        evidence: who asked for what, and how often that changed.
    """

    model: str
    num_ctx: int
    evidence: str


def context_advice(rows: Iterable[RequestRow]) -> list[ContextAdvice]:
    """Find the models whose context length changed from one request to the next.

    Args:
        rows: in the order of time. Requests through /v1 cannot ask for a context; they count as automatic.
    """
    asked: defaultdict[str, Counter[int | None]] = defaultdict(Counter)
    latest: dict[str, int | None] = {}
    changes: Counter[str] = Counter()
    for row in rows:
        num_ctx = _num_ctx(row)
        changes[row.model] += latest.get(row.model, num_ctx) != num_ctx
        latest[row.model] = num_ctx
        asked[row.model][num_ctx] += 1
    return [
        ContextAdvice(model, longest, _evidence(asked[model], count))
        for model, count in changes.most_common()
        if count and (longest := max((n for n in asked[model] if n is not None), default=None)) is not None
    ]


def _num_ctx(row: RequestRow) -> int | None:
    options = json.loads(row.runner_options_json) if row.endpoint.startswith(_NATIVE) else {}
    num_ctx = options.get("num_ctx")
    return num_ctx if isinstance(num_ctx, int) else None


def _evidence(asked: Counter[int | None], changes: int) -> str:
    counts = ", ".join(f"{num_ctx or 'automatic'} ({count} requests)" for num_ctx, count in asked.most_common())
    return f"asked for with {counts}; it changed {changes} times, each time Ollama loads the model again"
