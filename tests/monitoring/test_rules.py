"""promtool on the rules: they are well formed, and each alert fires when it must and stays silent when it must."""

from pathlib import Path

import pytest
import yaml

from tests.monitoring.expressions import ALERTS, GRAFANA, RECORDING, rules
from tests.monitoring.promtool import promtool
from tests.monitoring.rule_cases import AT, CASES, Case

pytestmark = pytest.mark.monitoring

ALERT = {rule["alert"]: rule for rule in rules(ALERTS)}


def test_the_rules_are_well_formed() -> None:
    said = promtool("check", "rules", "--lint=all", "--lint-fatal", RECORDING, ALERTS)
    assert said.count("SUCCESS") == 2


def test_the_example_of_a_configuration_finds_the_rules() -> None:
    assert "2 rule files found" in promtool("check", "config", GRAFANA / "prometheus" / "prometheus.yaml")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_alert_fires_when_it_must_and_only_then(case: Case, tmp_path: Path) -> None:
    given = [
        {"series": f"{name}{AT}{',' if labels else ''}{labels}}}", "values": values}
        for (name, _, labels), values in ((key.partition(","), values) for key, values in case.series.items())
    ]
    looked_at = {"eval_time": case.at, "alertname": case.alert, "exp_alerts": [expected(case)] if case.fires else []}
    tests = {
        "rule_files": [str(RECORDING), str(ALERTS)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": given, "alert_rule_test": [looked_at]}],
    }
    file = tmp_path / "case.yaml"
    file.write_text(yaml.safe_dump(tests))
    promtool("test", "rules", file)


def expected(case: Case) -> dict[str, dict[str, str]]:
    rule = ALERT[case.alert]
    where = {} if case.alert == "KeepwarmGone" else {"job": "keepwarm", "instance": "box:11436"}
    about = {"model": case.model} if case.model else {}
    return {
        "exp_labels": {**where, **about, **rule["labels"]},
        "exp_annotations": {**rule["annotations"], "summary": case.fires},
    }


@pytest.mark.parametrize("alert", ALERT)
def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(alert: str) -> None:
    assert {bool(case.fires) for case in CASES if case.alert == alert} == {True, False}
