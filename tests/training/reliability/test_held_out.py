"""Held-out predictions in the order of the run, and the assessment record built from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.core.appearance import measure_appearance
from training.config import read_config
from training.data.index import Index
from training.data.labelled_tiles import LabelledTiles
from training.data.labels import LABEL_IDS
from training.data.tiles import TileStream
from training.reliability.assessment_record import build_record
from training.reliability.held_out import HeldOutPredictions, out_of_fold_predictions
from training.reliability.input_gate import measure_appearances
from training.runs.records import Answer, CrossValidation

NO_HASH = "0" * 64
SIDE_PX = 64


@pytest.fixture
def labelled(drawn_index: Index, drawn_dir: Path) -> LabelledTiles:
    tiles = TileStream(drawn_index, drawn_dir, SIDE_PX)
    return LabelledTiles(drawn_index, NO_HASH, drawn_dir, tiles)


def run_of(index: Index, config_file: Path, n_measured: int) -> CrossValidation:
    """Answers in reverse order of the index; the first `n_measured` have a distance."""
    tiles = index.tiles[::-1]
    record = {"phase": "head", "epoch": 1, "loss": 1.0, "accuracy": 1.0}
    record |= {"test_loss": 1.0, "test_accuracy": 1.0}
    return CrossValidation(
        kind="slide",
        split_sha256=NO_HASH,
        index_sha256=NO_HASH,
        config=read_config(config_file),
        answers=tuple(
            Answer(
                tile=tile.name,
                slide=tile.slide,
                fold=f"fold {number % 2}",
                label=tile.label,
                logits=(float(number), 0.0, 1.0),
                distance=number / 100 if number < n_measured else None,
            )
            for number, tile in enumerate(tiles)
        ),
        history={f"fold {i}": (record,) for i in range(2)},
    )


def predictions(labelled: LabelledTiles, config_file: Path, n_measured: int) -> HeldOutPredictions:
    run = run_of(labelled.index, config_file, n_measured)
    return out_of_fold_predictions(run, labelled.index, measure_appearances(labelled.tiles), 2.0)


def test_out_of_fold_predictions_are_in_the_order_of_the_run(
    labelled: LabelledTiles, tiny_config: Path
) -> None:
    n_tiles = len(labelled.tiles)
    found = predictions(labelled, tiny_config, n_tiles)
    expected = [measure_appearance(labelled.tiles[i]) for i in reversed(range(n_tiles))]
    assert list(found.appearances) == expected
    assert [LABEL_IDS[i] for i in found.truth] == list(labelled.index.labels[::-1])
    assert found.distances == pytest.approx(np.arange(n_tiles) / 100)
    assert found.folds.tolist() == [f"fold {i % 2}" for i in range(n_tiles)]
    assert found.probabilities[4] == pytest.approx(softmax_of_half(4.0, 0.0, 1.0), abs=1e-6)


def softmax_of_half(*logits: float) -> list[float]:
    exponentials = [float(np.exp(logit / 2)) for logit in logits]
    return [value / sum(exponentials) for value in exponentials]


def test_out_of_fold_predictions_have_no_distances_if_some_are_missing(
    labelled: LabelledTiles, tiny_config: Path
) -> None:
    assert predictions(labelled, tiny_config, 3).distances is None


def test_build_record_counts_predictions(labelled: LabelledTiles, tiny_config: Path) -> None:
    record = build_record(predictions(labelled, tiny_config, len(labelled.tiles)), LABEL_IDS)
    # The first logits are (0, 0, 1); the second tie at (1, 0, 1), and the first label wins.
    assert record.drift.predictions == {"non_tumor": 11, "non_viable_tumor": 0, "viable_tumor": 1}
    assert record.n_tiles == len(record.conformal.scores) == 12
    assert record.drift.distance is not None
    for histogram in (record.drift.probability, record.drift.distance):
        assert sum(histogram.counts) == 12
    assert record.gate.max_distance == pytest.approx(1.1 * 0.11, abs=1e-3)


def test_build_record_without_distances_has_no_distance_limit(
    labelled: LabelledTiles, tiny_config: Path
) -> None:
    record = build_record(predictions(labelled, tiny_config, 0), LABEL_IDS)
    assert record.gate.max_distance is None
    assert record.drift.distance is None
