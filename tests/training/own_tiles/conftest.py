"""Fixtures of the tests with one's own labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.own_tiles.drawing import CONFIG
from training.config import read_config
from training.data.label_set import LabelSet


@pytest.fixture
def four_config(tmp_path: Path) -> Path:
    path = tmp_path / "four.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def four_labels(four_config: Path) -> LabelSet:
    return read_config(four_config).labels


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSTEO_DATA_DIR", raising=False)
    monkeypatch.delenv("OSTEO_WEIGHTS", raising=False)
