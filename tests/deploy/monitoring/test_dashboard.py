"""The dashboard answers four questions, and each panel says what it shows."""

from __future__ import annotations

import json
from itertools import product

import pytest
import yaml  # type: ignore[import-untyped]  # it ships no types

from benchmarks.dashboard.panels import DASHBOARD, MONITORING_DIR, read_panels
from tests.contract.test_container import SERVICES
from tests.deploy.monitoring.rules import selectors_of

CONTENT = json.loads(DASHBOARD.read_text())
PANELS = [panel for panel in CONTENT["panels"] if panel["type"] != "row"]
PROVISIONING = MONITORING_DIR / "grafana" / "provisioning"


def test_rows_are_the_four_questions() -> None:
    rows = [panel["title"] for panel in CONTENT["panels"] if panel["type"] == "row"]
    assert rows == [
        "Is it well?",
        "How busy is it?",
        "What does it answer?",
        "Is it drifting?",
    ]
    assert list(dict.fromkeys(panel.row for panel in read_panels(rate_interval_s=60))) == rows


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_panel_has_a_description_a_unit_and_the_chosen_data_source(panel: dict) -> None:  # type: ignore[type-arg]  # JSON
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
    assert all(target["legendFormat"] for target in panel["targets"])


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_panel_shows_the_chosen_namespace_and_job(panel: dict) -> None:  # type: ignore[type-arg]  # JSON
    for target in panel["targets"]:
        for selector in selectors_of(target["expr"]):
            chosen = ("$namespace|",) if selector.startswith("ALERTS") else ("$namespace", "$job")
            assert all(f'=~"{value}"' in selector for value in chosen), selector


def test_panels_do_not_overlap() -> None:
    cells = [
        (x, y)
        for grid in (panel["gridPos"] for panel in CONTENT["panels"])
        for x, y in product(
            range(grid["x"], grid["x"] + grid["w"]), range(grid["y"], grid["y"] + grid["h"])
        )
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in CONTENT["panels"]}) == len(CONTENT["panels"])


def test_grafana_is_given_the_prometheus_and_the_folder_of_compose() -> None:
    sources = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())
    (source,) = sources["datasources"]
    assert source["url"] == "http://prometheus:9090"
    scraping = yaml.safe_load((MONITORING_DIR / "prometheus.yml").read_text())["global"]
    assert source["jsonData"]["timeInterval"] == scraping["scrape_interval"]
    providers = yaml.safe_load((PROVISIONING / "dashboards" / "osteo.yml").read_text())
    (provider,) = providers["providers"]
    mounted = [str(mount).split(":")[1] for mount in SERVICES["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounted
