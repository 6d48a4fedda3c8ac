"""A small study of drawn tiles whose backbone is a few sums, so that it needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from training.data.index import Index
from training.experiments.study import study_report
from training.experiments.study.config import StudyConfig, read_study
from training.experiments.study.features import FeatureSource, Tile
from training.experiments.study.study import Study, StudyFolders
from training.features.store import Features
from training.storage.frozen_model import write_json

TINY_STUDY = """
name = "tiny"
seed = 3

[systems.mobilenetv2]
weights = "none"
side_px = 64

[head]
hidden_units = 6
batch_size = 4

[grid]
systems = ["mobilenetv2"]
learning_rates = [0.01, 0.001]
epochs = [2, 4]
runs = 2

[table]
systems = ["mobilenetv2"]
learning_rate = 0.01
epochs = 4
runs = 2
n_views = 2
rows = [{ name = "none" }, { name = "flip, zoom 1", horizontal_flip = true, zoom = 1.0 }]

[levels]
random_folds = 2
slide_folds = 2
"""

MakeStudy = Callable[..., Study]


def infer_colours(tiles: Tile) -> Features:
    """Eight numbers for each tile: mean and spread of its channels, and means of its halves."""
    scaled = tiles.astype(np.float32) / 255
    halves = [scaled[:, :, :32].mean(axis=(1, 2, 3)), scaled[:, :, 32:].mean(axis=(1, 2, 3))]
    channels = [*scaled.mean(axis=(1, 2)).T, *scaled.std(axis=(1, 2)).T]
    return np.stack([*channels, *halves], axis=1)


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(TINY_STUDY)
    return path


@pytest.fixture
def study_config(study_file: Path) -> StudyConfig:
    return read_study(study_file)


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test that reads only the tables of a report: each figure takes a third of a second."""
    for number in (3, 4, 5):
        monkeypatch.setattr(study_report, f"draw_figure_{number}", lambda *_: b"")


@pytest.fixture
def make_study(
    tmp_path: Path,
    drawn_dir: Path,
    drawn_index: Index,
    study_config: StudyConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> MakeStudy:
    """Studies with the colours for a backbone; `out` names the folder."""
    monkeypatch.setattr(FeatureSource, "_open_backbone", lambda *_: infer_colours)
    index_sha256 = write_json(tmp_path / "index.json", drawn_index)

    def make(out: str = "out", config: StudyConfig = study_config) -> Study:
        folders = StudyFolders(drawn_dir, tmp_path / "cache", tmp_path / out)
        return Study(config, drawn_index, index_sha256, folders)

    return make
