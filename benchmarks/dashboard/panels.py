"""Read the panels of the dashboard from its file."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from benchmarks.environments import REPOSITORY

MONITORING_DIR: Final = REPOSITORY / "deploy" / "monitoring"
DASHBOARD: Final = MONITORING_DIR / "grafana" / "dashboards" / "osteo.json"


@dataclass(frozen=True, slots=True)
class Query:
    """An expression of a panel, and the template of the names of its series."""

    expression: str
    legend: str

    def name(self, labels: dict[str, str]) -> str:
        """Name of a series: the template with the values of the labels."""
        return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), self.legend)


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture or a number of the dashboard.

    Attributes:
        row: title of the row that it is in.
        kind: a number, or lines over time.
        unit: Grafana's name of the unit, such as `s` or `percentunit`.
        place: x, y, width and height in the grid of 24 columns.
        thresholds: the values from which another colour begins.
        texts: what is shown instead of a value.
        is_stacked: whether the series lie on top of each other.
    """

    title: str
    row: str
    kind: Literal["stat", "timeseries"]
    unit: str
    place: tuple[int, int, int, int]
    thresholds: tuple[tuple[float, str], ...]
    texts: dict[str, str]
    is_stacked: bool
    queries: tuple[Query, ...]


def read_panels(*, rate_interval_s: int, file: Path = DASHBOARD) -> list[Panel]:
    """Read the panels, of all namespaces and jobs, with a window for rates in the expressions."""
    content = json.loads(file.read_text())
    variables = (v for v in content["templating"]["list"] if v["includeAll"])
    values = {f"${v['name']}": v["allValue"] for v in variables}
    values["$__rate_interval"] = f"{rate_interval_s}s"
    panels, row = [], ""
    for entry in content["panels"]:
        if entry["type"] == "row":
            row = entry["title"]
        else:
            panels.append(_panel(entry, row, values))
    return panels


def _panel(entry: dict[str, Any], row: str, values: dict[str, str]) -> Panel:
    defaults, grid = entry["fieldConfig"]["defaults"], entry["gridPos"]
    mapped = [mapping["options"] for mapping in defaults.get("mappings", [])]
    return Panel(
        entry["title"],
        row,
        entry["type"],
        defaults["unit"],
        (grid["x"], grid["y"], grid["w"], grid["h"]),
        tuple((s["value"] or 0.0, s["color"]) for s in defaults["thresholds"]["steps"]),
        {key: text["text"] for options in mapped for key, text in options.items()},
        "stacking" in defaults.get("custom", {}),
        tuple(
            Query(_with_values(target["expr"], values), target["legendFormat"])
            for target in entry["targets"]
        ),
    )


def _with_values(expression: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        expression = expression.replace(name, value)
    return expression
