"""The kinds of panels that the dashboards are made of, so that all of them look and read alike. Asks nothing itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as fields
from grafana_foundation_sdk.models import heatmap as heat
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana.queries import Query

SOURCE: Final = fields.DataSourceRef(type_val="prometheus", uid="${datasource}")
NOTHING: Final = "nothing to show for the time chosen"
TO_MODEL: Final = "/d/keepwarm-model?${__url_time_range}&${datasource:queryparam}&${instance:queryparam}&var-model="
GREEN, YELLOW, RED = "green", "yellow", "red"
Panel = bargauge.Panel | heatmap.Panel | stat.Panel | statetimeline.Panel | table.Panel | timeseries.Panel
_Panel = TypeVar(
    "_Panel", bargauge.Panel, heatmap.Panel, stat.Panel, statetimeline.Panel, table.Panel, timeseries.Panel
)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What every panel says of itself.

    Attributes:
        title: a question or a plain noun.
        unit: Grafana's id of the unit.
        good: what is good; `bad` and `do`: what is bad, and what to do then.
        width: of 24 columns; `height` in Grafana's rows of 30 px.
        empty: what it says when there is nothing.
    """

    title: str
    unit: str
    shows: str
    good: str
    bad: str
    do: str
    width: int = 8
    height: int = 8
    empty: str = NOTHING

    def description(self) -> str:
        """Return the text behind the panel's ⓘ."""
        return f"{self.shows}\n\n**Good:** {self.good}\n\n**Bad:** {self.bad}\n\n**Do:** {self.do}"


def number(about: About, query: Query, *steps: tuple[float | None, str]) -> stat.Panel:
    """One number, coloured by thresholds: pairs of a value and the colour from there on, the first from None."""
    panel = _described(stat.Panel(), about, query).graph_mode(looks.BigValueGraphMode.NONE)
    panel.color_mode(looks.BigValueColorMode.VALUE if steps else looks.BigValueColorMode.NONE)
    return panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"])).thresholds(_thresholds(steps))


def yes_or_no(about: About, query: Query, yes: str, no: str) -> stat.Panel:
    """1 or 0, in words."""
    words = {
        "1": fields.ValueMappingResult(text=yes, color=GREEN, index=0),
        "0": fields.ValueMappingResult(text=no, color=RED, index=1),
    }
    return number(about, query, (None, RED), (1, GREEN)).mappings([fields.ValueMap(words)])


def lines(about: About, *queries: Query) -> timeseries.Panel:
    """The course of time, with a table of the lines below: names are many and long."""
    panel = _described(timeseries.Panel(), about, *queries).fill_opacity(8).line_width(1)
    legend = common.VizLegendOptions().display_mode(looks.LegendDisplayMode.TABLE).show_legend(show_legend=True)
    legend.placement(looks.LegendPlacement.BOTTOM).calcs(["mean", "max", "lastNotNull"]).sort_by("Max").sort_desc(
        sort_desc=True
    )
    tooltip = common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI).sort(looks.SortOrder.DESCENDING)
    panel.show_points(looks.VisibilityMode.AUTO).axis_soft_min(0)
    return panel.legend(legend).tooltip(tooltip).color_scheme(_by_name())


def areas(about: About, *queries: Query) -> timeseries.Panel:
    """Lines that add up."""
    return lines(about, *queries).stacking(_stacked()).fill_opacity(40)


def bars(about: About, *queries: Query) -> timeseries.Panel:
    """Things that happened, counted per interval, stacked."""
    panel = lines(about, *queries).stacking(_stacked()).draw_style(looks.GraphDrawStyle.BARS).fill_opacity(80)
    return panel.show_points(looks.VisibilityMode.NEVER)


def ranking(about: About, query: Query) -> bargauge.Panel:
    """The values of this moment side by side, each with a way to its model."""
    panel = _described(bargauge.Panel(), about, query).orientation(looks.VizOrientation.HORIZONTAL).min(0)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"])).show_unfilled(show_unfilled=False)
    panel.display_mode(looks.BarGaugeDisplayMode.BASIC).name_placement(looks.BarGaugeNamePlacement.LEFT)
    panel.color_scheme(FieldColor().mode(fields.FieldColorModeId.CONTINUOUS_YL_RD))
    return panel.override_by_regexp(".*", [link_to_model("${__field.labels.model}")])


def states(about: About, words: Sequence[tuple[str, str]], *queries: Query) -> statetimeline.Panel:
    """What state each was in over time; `words`: for 0, 1, 2… the name of the state and its colour."""
    panel = _described(statetimeline.Panel(), about, *queries).show_value(looks.VisibilityMode.NEVER)
    mapped = {
        str(value): fields.ValueMappingResult(text=text, color=color, index=value)
        for value, (text, color) in enumerate(words)
    }
    legend = common.VizLegendOptions().display_mode(looks.LegendDisplayMode.LIST).show_legend(show_legend=True)
    panel.legend(legend.placement(looks.LegendPlacement.BOTTOM)).merge_values(merge_values=True)
    panel.color_scheme(FieldColor().mode(fields.FieldColorModeId.FIXED)).per_page(20)
    return panel.mappings([fields.ValueMap(mapped)]).fill_opacity(80).line_width(0)


def spread(about: About, query: Query) -> heatmap.Panel:
    """How a histogram's cases spread over its buckets, over time."""
    panel = heatmap.Panel().calculate(calculate=False)
    panel = _described(panel, about, query, heat_map=True)
    color = heatmap.HeatmapColorOptions().mode(heat.HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    axis = heatmap.YAxisConfig().unit(about.unit)
    return panel.color(color.exponent(0.5)).y_axis(axis).show_legend().cell_gap(1)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its heading, unit, the question whose answer it is, and words for values from a limit on."""

    heading: str
    unit: str
    query: Query
    beyond: tuple[float, str] | None = None


def rows(about: About, columns: Sequence[Column]) -> table.Panel:
    """A line for each model, with a way to it; every column answers one question with a value per model."""
    panel = _described(table.Panel(), about, *(column.query for column in columns), tabular=True)
    renamed = {f"Value #{_ref(index)}": column.heading for index, column in enumerate(columns)}
    hidden = {f"Time{suffix}": True for suffix in ("", *(f" {index + 1}" for index in range(len(columns))))}
    panel.with_transformation(
        fields.DataTransformerConfig("joinByField", options={"byField": "model", "mode": "outer"})
    )
    organized = {"excludeByName": hidden, "renameByName": {"model": "Model", **renamed}}
    panel.with_transformation(fields.DataTransformerConfig("organize", options=organized))
    for column in columns:
        looks_like = [fields.DynamicConfigValue("unit", column.unit)]
        if column.beyond is not None:
            looks_like.append(fields.DynamicConfigValue("mappings", [_beyond(*column.beyond)]))
        panel.override_by_name(column.heading, looks_like)
    by_first = common.TableSortByFieldState().display_name(columns[0].heading).desc(desc=True)
    return panel.override_by_name("Model", [link_to_model("${__data.fields.Model}")]).sort_by([by_first])


def link_to_model(model: str) -> fields.DynamicConfigValue:
    """A click leads to the dashboard of the model."""
    return fields.DynamicConfigValue("links", [{"title": "This model", "url": TO_MODEL + model}])


def for_ever(panel: timeseries.Panel) -> timeseries.Panel:
    """Say in words what Ollama means by a keep_alive of -1."""
    return panel.mappings([fields.ValueMap({"-1": fields.ValueMappingResult(text="for ever", index=0)})])


def dashed(panel: timeseries.Panel, name: str, color: str) -> timeseries.Panel:
    """Draw the line of this name dashed, over the areas and not added to them."""
    return panel.override_by_name(
        name,
        [
            fields.DynamicConfigValue("custom.stacking", {"mode": "none"}),
            fields.DynamicConfigValue("custom.fillOpacity", 0),
            fields.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [10, 10]}),
            fields.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": color}),
        ],
    )


def right_axis(panel: timeseries.Panel, name: str, unit: str) -> timeseries.Panel:
    """Measure the line of this name on the right, in a unit of its own, and do not add it to the others."""
    return panel.override_by_name(
        name,
        [
            fields.DynamicConfigValue("custom.axisPlacement", "right"),
            fields.DynamicConfigValue("custom.stacking", {"mode": "none"}),
            fields.DynamicConfigValue("custom.drawStyle", "line"),
            fields.DynamicConfigValue("custom.fillOpacity", 0),
            fields.DynamicConfigValue("unit", unit),
        ],
    )


def _described(panel: _Panel, about: About, *queries: Query, tabular: bool = False, heat_map: bool = False) -> _Panel:
    panel.title(about.title).description(about.description()).unit(about.unit).no_value(about.empty)
    panel.span(about.width).height(about.height).datasource(SOURCE)
    for index, query in enumerate(queries):
        target = prometheus.Dataquery().expr(query.scoped()).ref_id(_ref(index)).legend_format(query.legend)
        target = target.instant() if query.now else target.range()
        if tabular:
            target.format(PromQueryFormat.TABLE)
        if heat_map:
            target.format(PromQueryFormat.HEATMAP)
        panel.with_target(target.exemplar(query.exemplars).datasource(SOURCE))
    return panel


def _ref(index: int) -> str:
    return chr(ord("A") + index)


def _thresholds(steps: Sequence[tuple[float | None, str]]) -> ThresholdsConfig:
    colored = [fields.Threshold(value, color) for value, color in steps or [(None, GREEN)]]
    return ThresholdsConfig().mode(fields.ThresholdsMode.ABSOLUTE).steps(colored)


def _stacked() -> common.StackingConfig:
    return common.StackingConfig().mode(looks.StackingMode.NORMAL).group("A")


def _by_name() -> FieldColor:
    """The same model has the same colour everywhere."""
    return FieldColor().mode(fields.FieldColorModeId.PALETTE_CLASSIC_BY_NAME)


def _beyond(limit: float, text: str) -> fields.RangeMap:
    result = fields.ValueMappingResult(text=text, index=0)
    return fields.RangeMap(fields.DashboardRangeMapOptions(from_val=limit, to=None, result=result))
