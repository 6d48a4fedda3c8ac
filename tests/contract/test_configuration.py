"""Documented configurations are valid, and every key of a configuration is documented."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.contract import configuration_page
from tests.contract.pages import CURRENT_PAGES, code_blocks
from training.config import RELEASED_CONFIG, TrainingConfig, read_config
from training.storage.toml import parse_document

CONFIGURATIONS = [(page, block) for page in CURRENT_PAGES for block in code_blocks(page, "toml")]
CONFIGURED_PAGES = [page for page, _ in CONFIGURATIONS]


@pytest.mark.parametrize(("page", "block"), CONFIGURATIONS, ids=CONFIGURED_PAGES)
def test_documented_configuration_is_valid(page: str, block: str, tmp_path: Path) -> None:
    document = tomllib.loads(block)
    if "model_name" in document:
        file = tmp_path / "documented.toml"
        file.write_text(block, encoding="utf-8")
        read_config(file)
        return
    # A section, to be added to a configuration. Balancing by case excludes synthetic tiles.
    released: dict[str, Any] = tomllib.loads(RELEASED_CONFIG.read_text(encoding="utf-8"))
    if "gan" in document:
        released.pop("sampling")
    parse_document(released | document, TrainingConfig, page)


def test_the_pages_with_configurations_are_searched() -> None:
    assert {"docs/systems.md", "docs/gan.md", "docs/scale.md"} <= set(CONFIGURED_PAGES)


@pytest.mark.parametrize("page", CURRENT_PAGES)
def test_no_configuration_escapes_the_search(page: str) -> None:
    for block in code_blocks(page, ""):
        found = set(re.findall(r"^\[(\w+)\]", block, re.M))
        assert found.isdisjoint(TrainingConfig.model_fields), block


def test_the_page_of_keys_is_generated_from_the_model() -> None:
    written = configuration_page.PATH.read_text(encoding="utf-8")
    assert written == configuration_page.page(), (
        "Run '.venv/bin/python -m tests.contract.configuration_page'."
    )


def test_every_key_has_a_description() -> None:
    assert "None |" not in configuration_page.page()
    assert '| `weights` | `"imagenet"` | text | `imagenet` (Keras' in configuration_page.page()
