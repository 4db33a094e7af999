"""Every expression that this project gives to Prometheus: of dashboards, rules and alerts, each with its place."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

GRAFANA = Path(__file__).parents[2] / "grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
RECORDING, ALERTS = GRAFANA / "prometheus" / "recording.yaml", GRAFANA / "prometheus" / "alerts.yaml"
DEPENDS_ON_THE_MACHINE = {"KeepwarmOverheadHigh"}
"""Alerts that come near, but never last, where tests share a busy machine; test_rules.py has their quiet cases."""
_NAME = re.compile(r"\b(?:keepwarm|process)_\w+")
_PARTS = re.compile(r"_(bucket|sum|count)$")
_VARIABLE = re.compile(r"label_values\((?P<metric>.*), (?P<label>\w+)\)")


@dataclass(frozen=True)
class Expression:
    """PromQL, and where it stands."""

    place: str
    text: str

    def __str__(self) -> str:
        return self.place

    def metrics(self) -> set[str]:
        """The metrics that it names, as docs/metrics.md names them; not those that rules record."""
        return {_PARTS.sub("", name) for name in _NAME.findall(self.text)}


def dashboards() -> dict[str, dict[str, Any]]:
    """Each dashboard by its file's name."""
    return {file.stem: json.loads(file.read_text()) for file in DASHBOARDS}


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Its panels without the headings."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def of_panels() -> Iterator[Expression]:
    for name, dashboard in dashboards().items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield Expression(f"{name}: {panel['title']} {target['refId']}", target["expr"])


def of_marks() -> Iterator[Expression]:
    for name, dashboard in dashboards().items():
        for mark in dashboard["annotations"]["list"]:
            yield Expression(f"{name}: mark {mark['name']}", mark["expr"])


def of_variables() -> Iterator[Expression]:
    """The label's values, as a question for series."""
    for name, dashboard in dashboards().items():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                asked = _VARIABLE.fullmatch(variable["query"])
                assert asked, variable
                yield Expression(
                    f"{name}: variable {variable['name']}", f"count by ({asked['label']}) ({asked['metric']})"
                )


def rules(file: Path) -> list[dict[str, Any]]:
    """The rules of a file, over all its groups."""
    return [rule for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


def of_rules() -> Iterator[Expression]:
    for rule in rules(RECORDING):
        yield Expression(rule["record"], rule["expr"])


def of_alerts() -> Iterator[Expression]:
    for rule in rules(ALERTS):
        yield Expression(rule["alert"], rule["expr"])


def everything() -> list[Expression]:
    return [*of_panels(), *of_marks(), *of_variables(), *of_rules(), *of_alerts()]


def as_grafana_asks(expr: str, model: str = ".*") -> str:
    """What stands for the variables, when everything is chosen and two minutes are shown."""
    for variable, value in {
        "$instance": ".*",
        "$model": model,
        "$__rate_interval": "4s",
        "$__range": "120s",
    }.items():
        expr = expr.replace(variable, value)
    return expr
