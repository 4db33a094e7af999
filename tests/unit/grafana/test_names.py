"""Code, pages, dashboards, rules and runbooks speak of the same metrics and alerts."""

import re

from tests.monitoring.expressions import ALERTS, GRAFANA, RECORDING, everything, of_alerts, of_rules, rules
from tests.unit.observe.metric_names import documented

RUNBOOKS = GRAFANA.parent / "docs" / "runbooks.md"
SHOWN_NOWHERE = {
    "keepwarm_memory_used_bytes": "the sum of what the panel of memory stacks",
    "process_virtual_memory_bytes": "address space, which costs nothing; it comes with the others of the process",
}


def test_every_metric_that_is_asked_for_exists() -> None:
    for expression in everything():
        assert expression.metrics() <= documented().keys(), expression


def test_every_metric_is_shown_somewhere_or_it_is_said_why_not() -> None:
    shown = set().union(*(expression.metrics() for expression in everything()))
    assert documented().keys() - shown == SHOWN_NOWHERE.keys()


def test_every_label_that_is_asked_for_exists() -> None:
    known = documented()
    for expression in everything():
        for name, labels in re.findall(r"\b((?:keepwarm|process)_\w+)\{([^}]*)\}", expression.text):
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            asked = set(re.findall(r"(\w+)(?:=~|!~|!=|=)", labels)) - {"instance"}
            assert asked <= known[base][1], expression


def test_every_outcome_and_cause_that_is_asked_for_is_one_that_the_page_tells_of() -> None:
    told = set(re.findall(r"`(\w+)`", (GRAFANA.parent / "docs" / "metrics.md").read_text()))
    for expression in everything():
        for values in re.findall(r'(?:outcome|cause|direction|result)=~?"([^"]+)"', expression.text):
            assert set(values.split("|")) <= told, expression


def test_alerts_look_at_rules_that_are_recorded() -> None:
    recorded = {rule["record"] for rule in rules(RECORDING)}
    for expression in (*of_rules(), *of_alerts()):
        assert set(re.findall(r"\bkeepwarm:[\w:]+", expression.text)) <= recorded, expression


def test_rules_are_for_each_keepwarm_apart() -> None:
    for expression in (*of_rules(), *of_alerts()):
        for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression.text):
            assert {"job", "instance"} <= set(labels.split(", ")), expression


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    text = RUNBOOKS.read_text()
    alerts = {rule["alert"] for rule in rules(ALERTS)}
    assert set(re.findall(r"^## (\w+)$", text, re.MULTILINE)) == alerts
    for rule in rules(ALERTS):
        assert rule["annotations"]["runbook"] == f"docs/runbooks.md#{rule['alert'].lower()}"


def test_every_runbook_says_what_it_means_what_people_feel_what_to_check_and_what_to_do() -> None:
    for book in re.split(r"^## ", RUNBOOKS.read_text(), flags=re.MULTILINE)[1:]:
        assert re.findall(r"^\*\*([\w ]+):\*\*", book, re.MULTILINE) == ["Means", "People feel", "Check", "Do"], book[
            :40
        ]


def test_panels_send_people_to_runbooks_that_exist() -> None:
    alerts = {rule["alert"] for rule in rules(ALERTS)}
    sent_to = {
        name for file in (GRAFANA / "dashboards").iterdir() for name in re.findall(r"Keepwarm\w+", file.read_text())
    }
    assert sent_to <= alerts


def test_severities_are_those_that_the_runbooks_explain() -> None:
    explained = set(re.findall(r"`(\w+)`:", RUNBOOKS.read_text().partition("\n## ")[0]))
    assert {rule["labels"]["severity"] for rule in rules(ALERTS)} == explained == {"critical", "warning", "info"}
