"""What a reader must believe of settings, metrics and commands is held against the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from app.cli.commands import app as osteo
from app.settings import PREFIX, Settings
from app.telemetry.metrics import Metrics
from tests.conftest import REPOSITORY
from training.cli import app as osteo_train

SETTINGS_PAGE = (REPOSITORY / "docs" / "settings.md").read_text()


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_is_described_and_documented(name: str) -> None:
    field = Settings.model_fields[name]
    assert field.description
    row = re.search(rf"^\| `{PREFIX}{name.upper()}` \| (.*?) \| (.*) \|$", SETTINGS_PAGE, re.M)
    assert row, f"docs/settings.md has no row for {name}"
    default = {None: "not set"}.get(field.default, f"`{field.default}`")
    assert row[1] == ("`models` beside the code" if name == "models_dir" else default)
    assert row[2] == field.description


def test_no_setting_is_documented_that_is_gone() -> None:
    documented = set(re.findall(rf"^\| `{PREFIX}([A-Z_]+)`", SETTINGS_PAGE, re.M))
    assert documented == {name.upper() for name in Settings.model_fields}


def test_every_metric_is_documented() -> None:
    page = (REPOSITORY / "docs" / "metrics.md").read_text()
    for family in Metrics().registry.collect():
        if family.name.startswith("osteo_"):
            assert f"`{family.name}" in page, family.name
            assert family.documentation in page, family.name


def test_every_setting_reaches_the_container() -> None:
    compose = (REPOSITORY / "docker-compose.yml").read_text()
    for name in set(Settings.model_fields) - {"host", "port", "models_dir"}:
        assert f"- {PREFIX}{name.upper()}\n" in compose, name


@pytest.mark.parametrize("program", ["osteo", "osteo-train"])
def test_every_command_is_documented(program: str) -> None:
    commands = typer.main.get_command({"osteo": osteo, "osteo-train": osteo_train}[program])
    pages = "".join(
        page.read_text() for page in [REPOSITORY / "README.md", *REPOSITORY.glob("docs/*.md")]
    )
    for name in _spelled(commands, program):
        assert name in pages, name


def _spelled(command: Any, name: str) -> Iterator[str]:
    """Every command below a group, as it is typed."""
    below = getattr(command, "commands", None)
    if below is None:
        yield name
    for word, nested in (below or {}).items():
        yield from _spelled(nested, f"{name} {word}")


def test_no_placeholder_is_left() -> None:
    for page in [REPOSITORY / "README.md", *REPOSITORY.glob("docs/**/*.md")]:
        assert not re.search(r"@[A-Z]+@|Not measured yet|TODO", page.read_text()), page
