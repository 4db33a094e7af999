"""What all dashboards share: variables, marks in time, links to each other. Holds no panel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as fields

from grafana.panels import SOURCE
from grafana.queries import scoped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana.panels import Panel

_ALL: Final = fields.VariableOption(selected=True, text="All", value="$__all")


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: Sequence[Panel]


def board(
    name: str, title: str, description: str, model: build.QueryVariable | None, rows: Sequence[Row]
) -> fields.Dashboard:
    """Build a dashboard of the uid keepwarm-`name`; the first row's panels stand above all headings."""
    new = build.Dashboard(title).uid(f"keepwarm-{name}").description(description).tags(["keepwarm"])
    new.timezone("browser").time("now-3h", "now").refresh("30s").tooltip(
        fields.DashboardCursorSync.CROSSHAIR
    ).readonly()
    new.with_variable(build.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    new.with_variable(_instance())
    if model is not None:
        new.with_variable(model)
    link = build.DashboardLink("keepwarm").type(fields.DashboardLinkType.DASHBOARDS).tags(["keepwarm"])
    new.link(link.include_vars(include_vars=True).keep_time(keep_time=True))
    for mark in _MARKS:
        new.annotation(mark)
    for index, row in enumerate(rows):
        if index:
            new.with_row(build.Row(row.title))
        for panel in row.panels:
            new.with_panel(panel)
    built = new.build()
    for number, each in enumerate(built.panels or [], start=1):
        each.id_val = number
    return built


def models() -> build.QueryVariable:
    """Any number of models, all at first."""
    return one_model_or_all().multi(multi=True).current(_ALL)


def one_model_or_all() -> build.QueryVariable:
    """One model; all together, so that a link from a dashboard of all finds its choice here too."""
    variable = _variable("model", "Model", 'label_values(keepwarm_requests_total{instance=~"$instance"}, model)')
    return variable.include_all(include_all=True).all_value(".*")


def _instance() -> build.QueryVariable:
    """All are listed by name, not as `.*`: everything that is scraped has metrics of its process."""
    variable = _variable("instance", "keepwarm", "label_values(keepwarm_build_info, instance)")
    return variable.multi(multi=True).include_all(include_all=True).current(_ALL)


def _variable(name: str, label: str, query: str) -> build.QueryVariable:
    variable = build.QueryVariable(name).label(label).query(query).datasource(SOURCE)
    return variable.refresh(fields.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(fields.VariableSort.ALPHABETICAL_ASC)


class _Query(fields.AnnotationQuery):
    """Prometheus' own fields, which the SDK does not know; Grafana shows a mark where the value is above 0."""

    value_is_time: bool = False

    def to_json(self) -> dict[str, object]:
        target = {"expr": self.expr, "refId": "Anno", "interval": "10s"}
        mark = {"titleFormat": self.name, "useValueForTime": self.value_is_time, "target": target}
        return {**super().to_json(), **mark}


class _Mark(build.AnnotationQuery):
    def __init__(self, name: str, color: str, expr: str, *, value_is_time: bool = False) -> None:
        self._internal = _Query()
        self._internal.value_is_time = value_is_time
        self.name(name).icon_color(color).expr(scoped(expr)).datasource(SOURCE)


_MARKS: Final = (
    _Mark("Ollama does not answer", "red", "1 - keepwarm_upstream_up"),
    _Mark(
        "settings read",
        "blue",
        "1000 * keepwarm_config_last_reload_success_timestamp_seconds",
        value_is_time=True,
    ),
    _Mark("settings refused", "orange", 'increase(keepwarm_config_reloads_total{result="failure"}[1m])'),
    _Mark("keepwarm started", "purple", "1000 * process_start_time_seconds", value_is_time=True),
)
