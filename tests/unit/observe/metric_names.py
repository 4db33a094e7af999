"""The metrics as docs/metrics.md and as the code tell them: name to type and labels."""

import re
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from proxy.domain.effects import Cause, Left, Loaded, ManagementFailed, Outcome, Regretted
from proxy.domain.events import AnswerFigures, Ending
from proxy.observe.metrics import Metrics
from tests.unit.observe.samples import SAVED, STORE, arrived, engine, finished, resident

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
LINE = re.compile(r"^\| `(?P<name>\w+)` \| (?P<type>\w+) \|(?P<labels>[\w, ]*)\|", re.MULTILINE)


def documented() -> dict[str, tuple[str, frozenset[str]]]:
    lines = LINE.finditer(PAGE.read_text())
    return {m["name"]: (m["type"], frozenset(m["labels"].replace(" ", "").split(",")) - {""}) for m in lines}


def everything_happened() -> Metrics:
    """Everything happened once that puts a label on a metric."""
    metrics = Metrics(max_models=10)
    effects = [
        Loaded("a:latest", Cause.RELOAD, 6.2, 5_000, 0),
        *(Left("a:latest", cause, 5_000) for cause in Cause),
        Regretted("a:latest", 41.0),
        ManagementFailed("a:latest", "loading", "out of memory"),
    ]
    ended = [finished("a:latest", Outcome.COLD, figures=AnswerFigures()), finished("a:latest")]
    metrics.observe(arrived("a:latest", keep_alive=60.0), effects, ended)
    metrics.passthrough_started()
    metrics.passthrough_ended("/api/tags", Ending.ANSWERED)
    metrics.refused(401)
    metrics.config_reloaded(1.0)
    return metrics


def exposed() -> dict[str, tuple[str, frozenset[str]]]:
    body, _ = everything_happened().exposition(engine(resident()), STORE, saved=SAVED)
    return {_name(family): (family.type, _labels(family)) for family in text_string_to_metric_families(body.decode())}


def _name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def _labels(family: Metric) -> frozenset[str]:
    return frozenset(label for sample in family.samples for label in sample.labels) - {"le"}
