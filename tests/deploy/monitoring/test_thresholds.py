"""No threshold or wait of an alert can be halved or doubled unnoticed by its tests."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it ships no types

from tests.deploy.monitoring.programs import find_program
from tests.deploy.monitoring.rules import RULE_TESTS, RULES, read_yaml

THRESHOLD = re.compile(r"(?<=[<>] )[\d.]+")


def changed(rule: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rule with one number halved or doubled; a threshold of 0 becomes 3."""
    for found in THRESHOLD.finditer(rule["expr"]):
        limit = float(found[0])
        for other in (limit / 2, limit * 2) if limit else (3,):
            expression = f"{rule['expr'][: found.start()]}{other}{rule['expr'][found.end() :]}"
            yield {**rule, "expr": expression}
    if "for" in rule:
        minutes = int(rule["for"].removesuffix("m"))
        for seconds in (minutes * 30, minutes * 120):
            yield {**rule, "for": f"{seconds}s"}


def is_accepted(rule: dict[str, Any], cases: list[Any], folder: Path) -> bool:
    """Whether promtool's tests of a rule pass."""
    alerts = {"groups": [{"name": "changed", "rules": [rule]}]}
    tests = {"rule_files": ["alerts.yml"], "evaluation_interval": "1m", "tests": cases}
    (folder / "alerts.yml").write_text(yaml.safe_dump(alerts))
    (folder / "tests.yml").write_text(yaml.safe_dump(tests))
    command = [find_program("promtool"), "test", "rules", "tests.yml"]
    run = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=120)
    return run.returncode == 0


@pytest.mark.exhaustive
@pytest.mark.parametrize("alert", RULES)
def test_each_change_of_a_number_fails_a_test(alert: str, tmp_path: Path) -> None:
    cases = [c for name in RULE_TESTS for c in read_yaml(name)["tests"] if c["name"] == alert]
    rule = RULES[alert]
    assert is_accepted(rule, cases, tmp_path)
    unnoticed = [
        (other["expr"], other.get("for"))
        for other in changed(rule)
        if is_accepted(other, cases, tmp_path)
    ]
    assert unnoticed == []
