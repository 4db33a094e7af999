"""The committed dashboards are what grafana.build makes, and what a person needs of a dashboard."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.build import FOLDER, dashboards
from tests.monitoring.expressions import GRAFANA, panels

BUILT: dict[str, dict[str, Any]] = {name: json.loads(text) for name, text in dashboards().items()}
UNITS = {unit for name, unit in vars(units).items() if name[0].isupper()}
PANELS = [pytest.param(panel, id=f"{name}: {panel['title']}") for name, each in BUILT.items() for panel in panels(each)]
SCREEN_ROWS = 24  # of 30 px and a gap of 8: 900 px

each_dashboard = pytest.mark.parametrize("dashboard", BUILT.values(), ids=BUILT)
each_panel = pytest.mark.parametrize("panel", PANELS)


def test_what_is_committed_is_what_the_code_builds() -> None:
    committed = {file.name: file.read_text() for file in FOLDER.iterdir()}
    assert committed == dashboards(), "run python -m grafana.build"


def dropped(ours: Any, understood: Any, place: str = "") -> Iterator[str]:
    """Where something of ours is not in what was understood, or differs there."""
    if isinstance(ours, dict) and isinstance(understood, dict):
        for key, value in ours.items():
            yield from dropped(value, understood.get(key), f"{place}/{key}")
    elif isinstance(ours, list) and isinstance(understood, list) and len(ours) == len(understood):
        for one, other in zip(ours, understood, strict=True):
            yield from dropped(one, other, place)
    elif ours != understood:
        yield place


@each_dashboard
def test_grafanas_own_schema_understands_all_of_it(dashboard: dict[str, Any]) -> None:
    register_default_plugins()
    understood = json.loads(json.dumps(Dashboard.from_json(dashboard), cls=JSONEncoder))
    of_prometheus_own_marks = ("target/expr", "target/refId", "target/interval", "titleFormat", "useValueForTime")
    assert set(dropped(dashboard, understood)) == {f"/annotations/list/{field}" for field in of_prometheus_own_marks}


@each_panel
def test_every_panel_says_what_it_shows_what_is_good_what_is_bad_and_what_to_do(panel: dict[str, Any]) -> None:
    assert re.fullmatch(r"[^?.]+\??", panel["title"])
    for part in ("**Good:** ", "**Bad:** ", "**Do:** "):
        said = panel["description"].partition(part)[2].partition("\n\n")[0]
        assert said.endswith("."), part
    assert panel["fieldConfig"]["defaults"]["noValue"]


@each_panel
def test_every_panel_has_a_unit_that_grafana_knows(panel: dict[str, Any]) -> None:
    columns = [
        setting["value"]
        for override in panel["fieldConfig"]["overrides"]
        for setting in override["properties"]
        if setting["id"] == "unit"
    ]
    assert {panel["fieldConfig"]["defaults"]["unit"], *columns} <= UNITS


@each_panel
def test_every_question_is_put_to_the_chosen_data_source_instances_and_models(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for labels in re.findall(r"\b(?:keepwarm|process)_\w+(\{[^}]*\})?", target["expr"]):
            assert 'instance=~"$instance"' in labels, target["expr"]
        if "{{model}}" in target["legendFormat"] or "by (model" in target["expr"]:
            assert 'model=~"$model"' in target["expr"]


@each_panel
def test_no_panel_draws_more_lines_than_can_be_told_apart(panel: dict[str, Any]) -> None:
    """With 200 models: those on top, or those that are resident, which the GPU limits."""
    for target in panel["targets"]:
        if "by (model" in target["expr"] or "by (path" in target["expr"]:
            assert "topk(" in target["expr"] or re.search(r"by \(model\) \(keepwarm_resident_", target["expr"]), target


@each_dashboard
def test_panels_fill_whole_rows_and_none_covers_another(dashboard: dict[str, Any]) -> None:
    taken: dict[int, set[int]] = {}
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        for row in range(place["y"], place["y"] + place["h"]):
            columns = set(range(place["x"], place["x"] + place["w"]))
            assert not taken.setdefault(row, set()) & columns, panel["title"]
            taken[row] |= columns
    assert all(columns == set(range(24)) for columns in taken.values())
    assert sorted(taken) == list(range(len(taken)))


@each_dashboard
def test_the_first_screen_has_no_heading_and_ends_with_a_whole_panel(dashboard: dict[str, Any]) -> None:
    first_heading = next(panel["gridPos"]["y"] for panel in dashboard["panels"] if panel["type"] == "row")
    assert first_heading <= SCREEN_ROWS


@each_dashboard
def test_titles_and_numbers_of_panels_are_used_once(dashboard: dict[str, Any]) -> None:
    for key in ("title", "id"):
        values = [panel[key] for panel in dashboard["panels"]]
        assert len(set(values)) == len(values)


def test_uids_are_used_once_and_links_lead_to_one_of_them() -> None:
    uids = {dashboard["uid"] for dashboard in BUILT.values()}
    assert len(uids) == len(BUILT)
    linked = {match for text in dashboards().values() for match in re.findall(r"/d/([\w-]+)", text)}
    assert linked == {"keepwarm-model"}
    assert linked <= uids


def test_a_new_version_of_the_sdk_is_a_decision_of_ours() -> None:
    pinned = re.findall(r'"grafana-foundation-sdk(\S+)"', (GRAFANA.parent / "pyproject.toml").read_text())
    assert [version[:2] for version in pinned] == ["=="]


@pytest.mark.parametrize("file", sorted((GRAFANA / "provisioning").rglob("*.yaml")), ids=lambda file: file.parent.name)
def test_grafana_is_given_what_it_provisions(file: Path) -> None:
    content = yaml.safe_load(file.read_text())
    assert content["apiVersion"] == 1
    assert {"dashboards": "providers", "datasources": "datasources"}[file.parent.name] in content
