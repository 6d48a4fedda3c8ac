"""The tests and routes that docs/threat-model.md names exist."""

from __future__ import annotations

import re
from typing import Final

from tests.conftest import REPOSITORY
from tests.described import openapi_document

PAGE: Final = (REPOSITORY / "docs" / "threat-model.md").read_text()


def test_every_test_that_shows_a_defence_exists() -> None:
    table = PAGE.partition("## What is defended\n")[2].partition("\n## ")[0]
    rows = [row.split(" | ")[-1] for row in table.splitlines() if row.startswith("| ")][1:]
    shown = [re.findall(r"`([\w/]+?(?:\.py|/))`(?:: `(test_\w+)`)?", cell) for cell in rows]
    assert len(shown) > 15
    for row, found in zip(rows, shown, strict=True):
        assert found or row.startswith("---"), row
        for file, test in found:
            path = REPOSITORY / "tests" / file
            assert path.exists(), file
            assert not test or f"def {test}(" in path.read_text(), test


def test_every_route_is_judged() -> None:
    table = PAGE.partition("## STRIDE by route\n")[2]
    cells = [row.split(" | ")[0] for row in table.splitlines() if row.startswith("| ")]
    paths = " ".join(re.findall(r"`(?:[A-Z]+ )?(/[^`?]*)`", " ".join(cells))).split()
    last_parts = {path.rsplit("/", 1)[-1] for path in paths}
    for path in openapi_document()["paths"]:
        assert path in paths or path.rsplit("/", 1)[-1] in last_parts or "/problems/" in path, path
