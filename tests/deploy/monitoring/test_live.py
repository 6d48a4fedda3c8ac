"""A real Prometheus that scrapes a real service under load fills the dashboard and the rules."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.dashboard.draw import draw_dashboard
from benchmarks.dashboard.panels import Panel, read_panels
from benchmarks.dashboard.prometheus import Prometheus, fetch_json
from tests.contract.test_container import SERVICES
from tests.deploy.monitoring.programs import run_program
from tests.deploy.monitoring.rules import RULES, metrics_of, selectors_of
from tests.servers import RunningServer, wait_until

PANELS = read_panels(rate_interval_s=60)
FIRST_ROW = [panel for panel in PANELS if panel.row == PANELS[0].row]
PANELS_OF_FAILURES = {"Turned away"}
"""They are empty while nothing fails."""
SELECTORS_OF_FAILURES = (
    *('status=~"5.."', "queue-full", "osteo_tls_certificate_expiry"),
    *("osteo_identity_provider", "osteo_rate_limit_storage"),
)
"""They have no series while nothing fails, or without TLS, an identity provider or Redis."""
OF_PROMETHEUS = {"up", "ALERTS"}


@pytest.fixture(scope="module")
def exported(service: RunningServer) -> set[str]:
    """Names of the metrics that the service exports."""
    page = service.client.get(f"{service.url}/metrics").text
    names = dict(re.findall(r"^# TYPE (\w+) (\w+)$", page, re.M))
    histograms = {name for name, kind in names.items() if kind == "histogram"}
    return names.keys() | {f"{name}_bucket" for name in histograms}


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_panel_uses_metrics_that_the_service_exports(panel: Panel, exported: set[str]) -> None:
    for query in panel.queries:
        used = metrics_of(query.expression)
        assert used, query.expression
        assert used <= exported | OF_PROMETHEUS


@pytest.mark.parametrize("alert", RULES)
def test_alert_uses_metrics_that_the_service_exports(alert: str, exported: set[str]) -> None:
    used = metrics_of(RULES[alert]["expr"])
    assert used
    assert used <= exported | OF_PROMETHEUS


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_panel_shows_numbers(panel: Panel, prometheus: Prometheus) -> None:
    if panel.title in PANELS_OF_FAILURES:
        for query in panel.queries:
            assert prometheus.now(query.expression) == []
        return
    wait_until(lambda: any(prometheus.now(query.expression) for query in panel.queries))
    for query in panel.queries:
        assert all(query.name(series.labels) for series in prometheus.now(query.expression))


@pytest.mark.parametrize("alert", RULES)
def test_labels_of_an_alert_select_something(alert: str, prometheus: Prometheus) -> None:
    for selector in selectors_of(RULES[alert]["expr"]):
        if not any(part in selector for part in SELECTORS_OF_FAILURES):
            wait_until(lambda selector=selector: bool(prometheus.now(f"count({selector})")))  # type: ignore[misc]  # a default binds it


def test_prometheus_evaluates_each_alert(prometheus: Prometheus) -> None:
    def states() -> dict[str, str]:
        groups = fetch_json(f"{prometheus.url}/api/v1/rules")["data"]["groups"]
        return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}

    wait_until(lambda: "unknown" not in states().values())
    assert states() == dict.fromkeys(RULES, "ok")


@pytest.mark.parametrize(
    "panels", [FIRST_ROW, pytest.param(PANELS, marks=pytest.mark.exhaustive)], ids=len
)
def test_the_picture_of_the_guide_can_be_drawn(
    panels: list[Panel], prometheus: Prometheus, tmp_path: Path
) -> None:
    """`python -m benchmarks.dashboard` does this after a longer run."""
    assert {panel.kind for panel in panels} == {panel.kind for panel in PANELS}
    end_s = time.time()
    span = {"begin_s": end_s - 30, "end_s": end_s, "step_s": 1.0}
    draw_dashboard(panels, prometheus, **span, file=tmp_path / "drawn.png")
    with Image.open(tmp_path / "drawn.png") as drawn:
        colours = drawn.convert("RGB").getcolors(maxcolors=2**24)
    assert colours is not None
    assert len(colours) > 100


def test_prometheus_is_healthy_as_compose_asks(prometheus: Prometheus) -> None:
    _, program, *arguments = SERVICES["prometheus"]["healthcheck"]["test"]
    run_program(program, *(a.replace("http://127.0.0.1:9090", prometheus.url) for a in arguments))
