"""Settings, metrics, routes and networks are documented, and nothing is that does not exist."""

from __future__ import annotations

import re

import pytest

from app.main import create_app
from app.settings import PREFIX, Settings
from app.settings.reading import TRAINING_VARIABLES
from app.telemetry.metrics import Metrics
from tests.conftest import REPOSITORY
from tests.contract.pages import PAGES
from training.networks.registry import SYSTEMS

SETTINGS_PAGE = (REPOSITORY / "docs" / "settings.md").read_text()
METRICS_PAGE = (REPOSITORY / "docs" / "metrics.md").read_text()
FAMILIES = [family for family in Metrics().registry.collect() if family.name.startswith("osteo_")]


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_is_described_and_documented(name: str) -> None:
    field = Settings.model_fields[name]
    assert field.description
    row = re.search(rf"^\| `{PREFIX}{name.upper()}` \| (.*?) \| (.*) \|$", SETTINGS_PAGE, re.M)
    assert row, f"docs/settings.md has no row for {name}"
    default = {None: "not set"}.get(field.default, f"`{field.default}`")
    assert row[1] == ("`models` beside the code" if name == "models_dir" else default)
    assert row[2] == field.description


def test_every_documented_setting_exists() -> None:
    documented = set(re.findall(rf"^\| `{PREFIX}([A-Z0-9_]+)`", SETTINGS_PAGE, re.M))
    assert documented == {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_that_a_page_names_exists(page: str) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | TRAINING_VARIABLES
    # Read by `osteo-train dataset fetch` and by docker-compose.yml.
    known |= {"OSTEO_DATA_URL", "OSTEO_TARGET"}
    named = set(re.findall(rf"\b{PREFIX}[A-Z0-9_]+(?!\w|\*)", (REPOSITORY / page).read_text()))
    assert named - {PREFIX} <= known


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_metric_is_documented(family: object) -> None:
    assert f"`{family.name}" in METRICS_PAGE  # type: ignore[attr-defined] # the library has no type
    assert family.documentation in METRICS_PAGE  # type: ignore[attr-defined] # as above


def test_every_documented_metric_exists() -> None:
    documented = re.findall(r"`(osteo_[a-z_]+)`", METRICS_PAGE)
    names = {family.name for family in FAMILIES}
    assert {name.removesuffix("_total") for name in documented} <= names


def test_every_setting_reaches_the_container() -> None:
    compose = (REPOSITORY / "docker-compose.yml").read_text()
    for name in set(Settings.model_fields) - {"host", "port", "models_dir"}:
        assert f"- {PREFIX}{name.upper()}\n" in compose, name


def test_every_route_is_in_the_readme() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    for path, operations in create_app(Settings()).openapi()["paths"].items():
        for method in operations:
            route = f"{method.upper()} {path}".replace("{version}", "2")
            assert f"`{route}`" in readme, route


def test_every_network_is_documented() -> None:
    documented = re.findall(
        r"^\| `([a-z0-9-]+)` \|", (REPOSITORY / "docs/systems.md").read_text(), re.M
    )
    assert documented == list(SYSTEMS)


@pytest.mark.parametrize("page", PAGES)
def test_no_placeholder_is_left(page: str) -> None:
    assert not re.search(r"@[A-Z]+@|Not measured yet|TODO", (REPOSITORY / page).read_text())
