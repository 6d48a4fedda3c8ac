"""The collection's own table: what docs/table.md says of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.training.command_line import succeed
from training.config import CONFIGS_DIR
from training.data.feature_table import find_feature_table
from training.data.index import read_index
from training.errors import DataError
from training.evaluation.metrics import evaluate
from training.runs.records import read_cross_validation

N_WITHOUT_MIXED = 1072
"""In the copy with 1,125 rows; the published table has 1,144."""


@pytest.fixture
def real_table_dir() -> Path:
    default = REPOSITORY.parent / "shared" / "tcia-more"
    folder = Path(os.environ.get("OSTEO_DATA_DIR", default))
    try:
        find_feature_table(folder)
    except DataError as error:
        pytest.skip(f"{error} (set OSTEO_DATA_DIR to a folder with the collection's table)")
    return folder


@pytest.mark.real_tiles
def test_texture_carries_over_to_an_unseen_patient(real_table_dir: Path, tmp_path: Path) -> None:
    index, split, out = tmp_path / "index.json", tmp_path / "patient.json", tmp_path / "patient"
    data = ("--config", CONFIGS_DIR / "texture-svm.toml", "--data-dir", real_table_dir)
    succeed("index", *data, "--out", index)
    succeed("split", "--index", index, "--kind", "patient", "--out", split)
    succeed("fit", *data, "--index", index, "--split", split, "--out", out)
    n_rows = len(read_index(index, needs_pixels=False)[0].tiles)
    assert n_rows >= N_WITHOUT_MIXED
    metrics = evaluate(read_cross_validation(out))
    assert (metrics.n_tiles, metrics.n_folds) == (n_rows, 4)
    assert metrics.accuracy >= 0.74
    assert metrics.macro_f1 >= 0.71
    recall = {entry.label: entry.recall for entry in metrics.classes}
    assert (recall["viable_tumor"] or 0) > 0.5
