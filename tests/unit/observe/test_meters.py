"""docs/metrics.md and the code name the same metrics, with the same types and labels."""

import re
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from proxy.domain.effects import Cause, Left, Loaded, ManagementFailed, Outcome, Regretted
from proxy.domain.events import AnswerFigures, Ending
from proxy.observe.metrics import Metrics
from tests.unit.observe.samples import STORE, arrived, engine, finished, resident

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
LINE = re.compile(r"^\| `(?P<name>\w+)` \| (?P<type>\w+) \|(?P<labels>[\w, ]*)\|", re.MULTILINE)


def documented() -> dict[str, tuple[str, frozenset[str]]]:
    lines = LINE.finditer(PAGE.read_text())
    return {m["name"]: (m["type"], frozenset(m["labels"].replace(" ", "").split(",")) - {""}) for m in lines}


def exposed() -> dict[str, tuple[str, frozenset[str]]]:
    """All metrics, after everything happened once that puts a label on one."""
    metrics = Metrics(max_models=10)
    effects = [
        Loaded("a:latest", Cause.RELOAD, 6.2, 5_000, 0),
        *(Left("a:latest", cause, 5_000) for cause in Cause),
        Regretted("a:latest", 41.0),
        ManagementFailed("a:latest", "loading", "out of memory"),
    ]
    metrics.observe(arrived(keep_alive=60.0), effects, [finished(outcome=Outcome.COLD, figures=AnswerFigures())])
    metrics.passthrough_started()
    metrics.passthrough_ended("/api/tags", Ending.ANSWERED)
    metrics.config_reloaded(1.0)
    metrics.refused(401)
    body, _ = metrics.exposition(engine(resident()), STORE)
    return {_name(family): (family.type, _labels(family)) for family in text_string_to_metric_families(body.decode())}


def _name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def _labels(family: Metric) -> frozenset[str]:
    return frozenset(label for sample in family.samples for label in sample.labels) - {"le"}


def test_the_page_names_all_metrics_and_no_others_with_their_types_and_labels() -> None:
    assert documented() == exposed()


def test_every_line_of_the_page_is_understood_by_this_test() -> None:
    assert PAGE.read_text().count("| `keepwarm_") == len(documented())


def test_every_name_has_our_prefix() -> None:
    assert all(name.startswith("keepwarm_") for name in exposed())
