"""Questions to Prometheus, as the panels ask them: each sees only the instances and models that are chosen above."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

RATE: Final = "[$__rate_interval]"
SHOWN: Final = "[$__range]"
_INSTANCE: Final = 'instance=~"$instance"'
_MODEL: Final = 'model=~"$model"'
_SELECTOR: Final = re.compile(r"\b((?:keepwarm|process)_\w+)(?:\{([^}]*)\})?")
_OF_MODEL: Final = re.compile(
    r"keepwarm_(requests_total|ttft_|e2e_|load_wait_|tokens_|prompt_evaluation_|generation_|gap_|keep_alive_|load_seconds"
    r"|loads_|reloads_|spilled_|evictions_|expiries_|explicit_unloads_|regret_|management_failures_|resident_)"
)


@dataclass(frozen=True, slots=True)
class Query:
    """One question.

    Attributes:
        expr: PromQL, without the labels of the variables `instance` and `model`, which `scoped` adds.
        legend: what the answer is called; `{{model}}` stands for a label.
        now: ask for the value of this moment, else for the course of time.
        exemplars: show the requests behind the numbers, where Prometheus keeps them.
    """

    expr: str
    legend: str = ""
    now: bool = False
    exemplars: bool = False

    def scoped(self) -> str:
        """Return the expression, narrowed to the chosen instances, and models where the metric knows models."""
        return scoped(self.expr)


def scoped(expr: str) -> str:
    """Narrow every selector of our metrics to the chosen instances, and to the chosen models where it knows models."""
    return _SELECTOR.sub(_narrow, expr)


def _narrow(selector: re.Match[str]) -> str:
    name, own = selector[1], selector[2]
    labels = [_INSTANCE, *([_MODEL] if _OF_MODEL.match(name) else []), *([own] if own else [])]
    return f"{name}{{{','.join(labels)}}}"


def quantile(share: float, histogram: str, labels: str = "", window: str = RATE) -> str:
    """Return how long it took for this share of a histogram's cases, of those with these labels."""
    selector = f"{histogram}_bucket{{{labels}}}" if labels else f"{histogram}_bucket"
    return f"histogram_quantile({share}, sum by (le) (rate({selector}{window})))"


def top(by_model: str, ranked_by: str, count: int = 10) -> str:
    """Return the lines of those models that lead over all of the time shown: `topk` alone would pick anew each moment.

    `by_model` and `ranked_by` give one value per model; `ranked_by` is asked at the end of the time shown.
    """
    return f"{by_model} and on (model) topk({count}, {ranked_by})"


def ever(counter: str) -> str:
    """Return how much a counter rose for each model over the time shown, as a rank for `top`."""
    return f"sum by (model) (increase({counter}{SHOWN} @ end()))"
