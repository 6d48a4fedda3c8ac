"""The alerts and their unit tests, as the files say them."""

from __future__ import annotations

import functools
import re
from typing import Any, Final

import yaml  # type: ignore[import-untyped]  # it ships no types

from benchmarks.dashboard.panels import MONITORING_DIR

RULE_TESTS: Final = sorted(file.name for file in MONITORING_DIR.glob("*_test.yml"))


@functools.cache
def read_yaml(name: str) -> Any:
    """The content of a file, which no test may change."""
    return yaml.load((MONITORING_DIR / name).read_text(), yaml.CSafeLoader)


RULES: Final[dict[str, dict[str, Any]]] = {
    rule["alert"]: rule for group in read_yaml("alerts.yml")["groups"] for rule in group["rules"]
}


def selectors_of(expression: str) -> list[str]:
    """The metrics of an expression, each with its labels: `name{label="value"}`."""
    return re.findall(r"\b(?:osteo_|process_|up\b|ALERTS\b)\w*(?:\{[^}]*\})?", expression)


def metrics_of(expression: str) -> set[str]:
    """The names of the metrics of an expression."""
    return {selector.partition("{")[0] for selector in selectors_of(expression)}
