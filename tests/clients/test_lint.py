"""Linters of OpenAPI documents find nothing, not even a warning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.tools import Tools
from tests.conftest import REPOSITORY

REDOCLY = ("redocly", "lint", "--config", REPOSITORY / "redocly.yaml", "--max-problems", 1000)
SPECTRAL = ("spectral", "lint", "--ruleset", REPOSITORY / ".spectral.yaml", "--fail-severity=hint")


@pytest.mark.parametrize("command", [REDOCLY, SPECTRAL], ids=["redocly", "spectral"])
def test_document_is_clean(tools: Tools, document: Path, command: tuple[object, ...]) -> None:
    tools.run(str(command[0]), *command[1:], document, cwd=document.parent)


def leave_only(document: dict[str, Any], path: str) -> None:
    """Remove the other paths, and what only they use."""
    document["paths"] = {path: document["paths"][path]}
    text = ""
    while text != (text := json.dumps(document)):
        for kind in document["components"].keys() - {"securitySchemes"}:
            parts = document["components"][kind].items()
            used = {name: part for name, part in parts if f'"#/components/{kind}/{name}"' in text}
            document["components"][kind] = used


@pytest.mark.parametrize("command", [REDOCLY, SPECTRAL], ids=["redocly", "spectral"])
def test_example_that_contradicts_its_schema_is_found(
    tools: Tools, document: Path, tmp_path: Path, command: tuple[object, ...]
) -> None:
    changed = json.loads(document.read_bytes())
    del changed["components"]["examples"]["classify"]["value"]["review"]
    leave_only(changed, "/v1/classify")  # which takes a quarter of the time
    (tmp_path / "openapi.json").write_text(json.dumps(changed))
    with pytest.raises(AssertionError, match="review"):
        tools.run(str(command[0]), *command[1:], tmp_path / "openapi.json", cwd=tmp_path)
