"""Each alert is valid, tested by promtool in both directions, and explained in the guide."""

from __future__ import annotations

import re

import pytest

from benchmarks.dashboard.panels import MONITORING_DIR
from tests.conftest import REPOSITORY
from tests.contract.pages import code_blocks
from tests.deploy.monitoring.programs import run_program
from tests.deploy.monitoring.rules import RULE_TESTS, RULES, read_yaml

PAGE = (REPOSITORY / "docs" / "monitoring.md").read_text()
SECTIONS = re.findall(r"^### Alert (\w+)\n(.*?)(?=^##)", PAGE + "##", re.M | re.S)


def test_prometheus_accepts_the_configuration_and_the_rules() -> None:
    run_program("promtool", "check", "config", str(MONITORING_DIR / "prometheus.yml"))


@pytest.mark.parametrize("name", RULE_TESTS)
def test_alerts_fire_when_they_should(name: str) -> None:
    run_program("promtool", "test", "rules", name, cwd=str(MONITORING_DIR))


@pytest.mark.parametrize("alert", RULES)
def test_each_alert_is_seen_firing_and_silent(alert: str) -> None:
    cases = [case for name in RULE_TESTS for case in read_yaml(name)["tests"]]
    checks = [
        check
        for case in cases
        for check in case["alert_rule_test"]
        if check["alertname"] == alert == case["name"]
    ]
    assert any(check.get("exp_alerts") for check in checks)
    assert not all(check.get("exp_alerts") for check in checks)


@pytest.mark.parametrize("alert", RULES)
def test_each_alert_says_how_bad_it_is_and_where_its_remedy_is(alert: str) -> None:
    rule = RULES[alert]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    anchor = f"docs/monitoring.md#alert-{alert.lower()}"
    assert rule["annotations"]["runbook_url"] == anchor


@pytest.mark.parametrize("alert", RULES)
def test_no_alert_sums_over_namespaces(alert: str) -> None:
    summed = re.findall(r"by \(([^)]*)\)", RULES[alert]["expr"])
    assert all(labels.startswith("namespace, job") for labels in summed)


def test_the_guide_explains_each_alert_and_no_other() -> None:
    assert [alert for alert, _ in SECTIONS] == list(RULES)


@pytest.mark.parametrize(("alert", "text"), SECTIONS, ids=[alert for alert, _ in SECTIONS])
def test_each_remedy_says_how_bad_it_is_and_what_to_do(alert: str, text: str) -> None:
    assert text.strip().startswith(f"**{RULES[alert]['labels']['severity'].capitalize()}.**")
    assert re.search(r"^1\. ", text, re.M), "there are no steps"
    assert "Who to call:" in text


@pytest.mark.parametrize(
    "text",
    [(MONITORING_DIR / "alertmanager.yml").read_text(), *code_blocks("docs/monitoring.md", "yaml")],
)
def test_alertmanager_accepts_its_configuration_and_that_of_the_guide(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("alertmanager") / "alertmanager.yml"
    file.write_text(text)
    run_program("amtool", "check-config", str(file))
