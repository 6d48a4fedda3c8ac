"""Tiles on which `osteo-train calibrate` refuses to recalibrate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from app.bundle import list_versions, open_bundle
from tests.training.release.sites import N_TILES, calibrate
from training.cli import app
from training.data.index import Index, read_index
from training.reliability.predictor import Predictor
from training.storage.frozen_model import write_json

pytestmark = pytest.mark.tensorflow


NAME = "osteo-mobilenetv2"


RELEASED = Path(__file__).parents[3] / "models"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda i: i.model_copy(update={"tiles": i.tiles[:19]}), "19 tiles of 3 labels"),
        (
            lambda i: i.model_copy(
                update={
                    "tiles": tuple(t.model_copy(update={"label": "viable_tumor"}) for t in i.tiles)
                }
            ),
            "21 tiles of 1 label;",
        ),
        (lambda i: i.model_copy(update={"tiles": ()}), "0 tiles of 0 labels"),
    ],
    ids=["few", "one label", "none"],
)
def test_calibrate_rejects_too_few_tiles_or_labels(
    parent: Path, site: Path, tmp_path: Path, change: Callable[[Index], Index], says: str
) -> None:
    write_json(tmp_path / "index.json", change(read_index(site / "index.json")[0]))
    versions = list_versions(parent.parents[1], NAME)
    result = calibrate(parent, tmp_path)
    assert result.exit_code == 1
    assert says in " ".join(result.output.split())
    assert list_versions(parent.parents[1], NAME) == versions


def test_calibrate_rejects_other_rows_of_the_training_table(
    parent: Path, site: Path, tmp_path: Path
) -> None:
    index, _ = read_index(site / "index.json")
    trained_on = open_bundle(parent).manifest.data.table_sha256
    write_json(tmp_path / "index.json", index.model_copy(update={"table_sha256": trained_on}))
    result = calibrate(parent, tmp_path)
    assert result.exit_code == 1
    assert "tiles that the model was trained on" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("is_correct", "says"),
    [(True, "the optimal temperature is unbounded"), (False, "no better than chance")],
)
def test_calibrate_rejects_predictions_that_are_all_correct_or_at_chance(
    parent: Path, site: Path, monkeypatch: pytest.MonkeyPatch, is_correct: bool, says: str
) -> None:
    truth = np.arange(N_TILES) % 3
    logits = np.eye(3)[truth if is_correct else (truth + 1) % 3]

    def all_correct_or_wrong(*_: object) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        return logits, np.ones((N_TILES, 1280), np.float32)

    monkeypatch.setattr(Predictor, "logits_and_embeddings", all_correct_or_wrong)
    versions = list_versions(parent.parents[1], NAME)
    result = calibrate(parent, site)
    assert result.exit_code == 1
    assert says in " ".join(result.output.split())
    assert list_versions(parent.parents[1], NAME) == versions


@pytest.mark.real_tiles
def test_calibrate_rejects_the_training_index(parent: Path, real_dir: Path, tmp_path: Path) -> None:
    index_file = tmp_path / "index.json"
    given = ["--data-dir", str(real_dir), "--out", str(index_file)]
    assert CliRunner().invoke(app, ["index", *given]).exit_code == 0
    assert read_index(index_file)[1] == open_bundle(parent).manifest.data.index_sha256
    arguments = ["--data-dir", str(real_dir), "--index", str(index_file)]
    result = CliRunner().invoke(app, ["calibrate", str(parent), *arguments])
    assert result.exit_code == 1
    assert "tiles that the model was trained on" in " ".join(result.output.split())
