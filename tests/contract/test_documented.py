"""Settings, metrics, routes and networks are documented, and nothing is that does not exist."""

from __future__ import annotations

import re

import pytest

from app.settings import PREFIX, Settings
from app.settings.variables import OTHER_VARIABLES, known_variables, setting_variables
from app.telemetry.metrics import Metrics
from tests.conftest import REPOSITORY
from tests.contract.pages import PAGES
from tests.described import openapi_document
from training.networks.registry import SYSTEMS
from training.networks.table_systems import TABLE_SYSTEMS

SETTINGS_PAGE = (REPOSITORY / "docs" / "settings.md").read_text()
METRICS_PAGE = (REPOSITORY / "docs" / "metrics.md").read_text()
NAMING_VARIABLES = [
    *PAGES,
    *("CHANGELOG.md", "Dockerfile", "Makefile", "docker-compose.yml", "pyproject.toml"),
    *(
        path.relative_to(REPOSITORY).as_posix()
        for folder in ("app", "benchmarks", "deploy", "training", ".ci", ".github")
        for path in sorted((REPOSITORY / folder).rglob("*"))
        if path.is_file() and path.suffix in {"", ".py", ".yml", ".yaml", ".toml", ".sh", ".md"}
    ),
]
"""Pages, code and files of the container that name variables; tests also name misspelt ones."""
DEFAULTS_OF_A_MACHINE = {
    "models_dir": "`models` beside the code",
    "state_dir": "`~/.local/state/osteo-tiles`",
}
FAMILIES = [family for family in Metrics().registry.collect() if family.name.startswith("osteo_")]


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_is_described_and_documented(name: str) -> None:
    field = Settings.model_fields[name]
    assert field.description
    row = re.search(rf"^\| `{PREFIX}{name.upper()}` \| (.*?) \| (.*) \|$", SETTINGS_PAGE, re.M)
    assert row, f"docs/settings.md has no row for {name}"
    default = {None: "not set"}.get(field.default, f"`{field.default}`")
    assert row[1] == DEFAULTS_OF_A_MACHINE.get(name, default)
    assert row[2] == field.description


def test_every_documented_setting_exists() -> None:
    documented = set(re.findall(rf"^\| `({PREFIX}[A-Z0-9_]+)`", SETTINGS_PAGE, re.M))
    assert documented == known_variables()


@pytest.mark.parametrize("variable", OTHER_VARIABLES)
def test_every_variable_that_the_service_ignores_is_documented(variable: str) -> None:
    assert f"| `{variable}` | {OTHER_VARIABLES[variable]} |" in SETTINGS_PAGE


@pytest.mark.parametrize("name", NAMING_VARIABLES)
def test_every_variable_that_a_file_names_is_known(name: str) -> None:
    text = (REPOSITORY / name).read_text()
    named = set(re.findall(rf"(?<![\w]){PREFIX}[A-Z0-9_]*[A-Z0-9](?![\w*])", text))
    # A service link of Kubernetes, which the service recognises and refuses.
    assert named - {"OSTEO_SERVICE"} <= known_variables()


def test_every_variable_is_named_where_it_is_read() -> None:
    texts = [(REPOSITORY / name).read_text() for name in NAMING_VARIABLES if "docs/" not in name]
    for variable in known_variables() - setting_variables():
        assert sum(variable in text for text in texts) > 1, f"nothing reads {variable}"


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
    for name in set(Settings.model_fields) - {"host", "port", "models_dir", "state_dir"}:
        variable = f"{PREFIX}{name.upper()}"
        assert re.search(rf"- {variable}(=\$\{{{variable}:-.*\}})?\n", compose), name


def test_variables_of_tracing_reach_the_container() -> None:
    compose = (REPOSITORY / "docker-compose.yml").read_text()
    page = (REPOSITORY / "docs" / "tracing.md").read_text()
    named = re.findall(r"^- `(OTEL_[A-Z_]+)`", page, re.M)
    assert len(named) == 4
    for variable in named:
        assert f"- {variable}\n" in compose, variable


def test_every_route_is_in_the_readme() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    for path, operations in openapi_document()["paths"].items():
        for method in operations:
            route = f"{method.upper()} {path}".replace("{version}", "2")
            assert f"`{route}`" in readme, route


def test_every_network_is_documented() -> None:
    documented = re.findall(
        r"^\| `([a-z0-9-]+)` \|", (REPOSITORY / "docs/systems.md").read_text(), re.M
    )
    assert documented == [*SYSTEMS, *TABLE_SYSTEMS]


@pytest.mark.parametrize("page", PAGES)
def test_no_placeholder_is_left(page: str) -> None:
    assert not re.search(r"@[A-Z]+@|Not measured yet|TODO", (REPOSITORY / page).read_text())
