from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.config import TrainingConfig, read_config
from training.drawn import draw_tile
from training.features import read_tiles
from training.fit import Trainer
from training.index import Index
from training.labels import LABEL_IDS
from training.runs import class_indices_of

pytestmark = pytest.mark.tensorflow


@pytest.fixture
def config(tiny_config: Path) -> TrainingConfig:
    return read_config(tiny_config)


def test_fit_repeats_itself_and_records_both_phases(
    drawn_index: Index, drawn_dir: Path, config: TrainingConfig
) -> None:
    tiles = read_tiles(drawn_index, drawn_dir)
    assert tiles.shape == (12, 224, 224, 3)
    trainer = Trainer(tiles, class_indices_of(drawn_index), config)
    train, test = np.arange(9), np.arange(9, 12)
    one, other = trainer.fit(train, test, seed=3), trainer.fit(train, test, seed=3)
    np.testing.assert_allclose(one.test_logits, other.test_logits, atol=1e-6)
    assert [(r.phase, r.epoch) for r in one.history] == [
        ("head", 1),
        ("head", 2),
        ("fine_tune", 1),
    ]
    assert all(np.isfinite(record.loss) for record in one.history)
    assert one.history[-1].test_accuracy is not None
    different = trainer.fit(train, test, seed=4)
    # An untrained base answers with numbers of about 1e-5.
    assert not np.allclose(one.test_logits, different.test_logits, rtol=1e-3, atol=0)


def test_fit_on_all_tiles_tests_nothing(
    drawn_index: Index, drawn_dir: Path, config: TrainingConfig
) -> None:
    fine_tune = config.fine_tune.model_copy(update={"epochs": 0})
    frozen = config.model_copy(update={"fine_tune": fine_tune})
    trainer = Trainer(read_tiles(drawn_index, drawn_dir), class_indices_of(drawn_index), frozen)
    fitted = trainer.fit(np.arange(12), np.array([], dtype=np.int64), seed=0)
    assert fitted.test_logits.shape == (0, 3)
    assert {record.phase for record in fitted.history} == {"head"}
    assert fitted.history[-1].test_loss is None


@pytest.mark.real_tiles
def test_fit_learns_the_drawn_labels(real_weights: str, config: TrainingConfig) -> None:
    """With ImageNet weights: five drawn tiles a label suffice to know five others."""
    drawn = [
        (draw_tile(label, 224, seed), i) for seed in range(10) for i, label in enumerate(LABEL_IDS)
    ]
    tiles = np.stack([tile for tile, _ in drawn])
    truth = np.array([i for _, i in drawn])
    network = config.network.model_copy(update={"weights": real_weights, "hidden_units": 100})
    head = config.head.model_copy(update={"epochs": 10})
    learning = config.model_copy(update={"network": network, "head": head})
    fitted = Trainer(tiles, truth, learning).fit(np.arange(15), np.arange(15, 30), seed=0)
    assert (fitted.test_logits.argmax(axis=1) == truth[15:]).mean() >= 14 / 15
