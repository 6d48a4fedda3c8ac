from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.config import SamplingConfig, TrainingConfig, read_config
from training.data.drawn_tiles import draw_tile
from training.data.index import Index
from training.data.labels import LABEL_IDS
from training.errors import RunError
from training.features.cache import FeatureCache
from training.features.extract import open_sources, read_tiles
from training.fit.sampling import Groups
from training.fit.trainer import Trainer
from training.networks.graphs import build_serving_model
from training.runs.records import class_indices_of

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


@pytest.mark.parametrize("fine_tune_epochs", [0, 1])
def test_kept_features_spare_the_base_and_change_nothing(
    drawn_index: Index,
    drawn_dir: Path,
    config: TrainingConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fine_tune_epochs: int,
) -> None:
    fine_tune = config.fine_tune.model_copy(update={"epochs": fine_tune_epochs})
    config = config.model_copy(update={"fine_tune": fine_tune})
    tiles, classes = read_tiles(drawn_index, drawn_dir), class_indices_of(drawn_index)
    cache = FeatureCache.of(tmp_path / "cache", drawn_index)
    train, test = np.arange(9), np.arange(9, 12)

    def fit(kept: FeatureCache | None) -> np.ndarray:
        return Trainer(tiles, classes, config, cache=kept).fit(train, test, seed=3).test_logits

    plain, first = fit(None), fit(cache)

    def refuse(*_: object) -> None:
        raise AssertionError("a view is drawn, so the base runs again")

    monkeypatch.setattr("training.features.extract.draw_views", refuse)
    again = fit(cache)
    np.testing.assert_allclose(first, plain, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(again, first, rtol=1e-4, atol=1e-9)
    with pytest.raises(AssertionError, match="the base runs again"):
        Trainer(tiles, classes, config.model_copy(update={"seed": 9}), cache=cache)


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


def test_fit_takes_every_ingredient_at_once(
    drawn_index: Index, drawn_dir: Path, config: TrainingConfig
) -> None:
    """Several heads, a feature space, balance, mixtures, decay: one head comes out, and answers."""
    augment = config.augment.model_copy(
        update={"symmetries": True, "stain_scale": 0.1, "smallest_crop": 0.5}
    )
    network = config.network.model_copy(
        update={"n_heads": 2, "standardize": 0.1, "case_directions": 1}
    )
    phase = {"weight_decay": 0.1, "mixup": 0.2, "tumor_weight": 2.0, "label_smoothing": 0.1}
    everything = config.model_copy(
        update={
            "augment": augment,
            "network": network,
            "sampling": SamplingConfig(balance="case_and_label"),
            "head": config.head.model_copy(update=phase),
            "fine_tune": config.fine_tune.model_copy(update={**phase, "mix_style": 0.1}),
        }
    )
    tiles = read_tiles(drawn_index, drawn_dir)
    sources = open_sources(drawn_index, drawn_dir, augment)
    assert sources is not None
    assert (len(sources), sources[0].shape) == (12, (448, 448, 3))
    classes = class_indices_of(drawn_index)
    with pytest.raises(RunError, match="slides and cases"):
        Trainer(tiles, classes, everything)
    trainer = Trainer(tiles, classes, everything, Groups.of(drawn_index), sources)
    fitted = trainer.fit(np.arange(9), np.arange(9, 12), seed=3)
    assert [weights.shape for weights in fitted.head_weights] == [(1280, 16), (16,), (16, 3), (3,)]
    assert np.isfinite(fitted.test_logits).all()
    assert [record.phase for record in fitted.history] == ["head", "head", "fine_tune"]


def test_fit_answers_with_the_folded_head(
    drawn_index: Index, drawn_dir: Path, config: TrainingConfig
) -> None:
    """What is exported (base and head weights) gives the logits that were measured."""
    network = config.network.model_copy(update={"n_heads": 2, "standardize": 0.1})
    frozen = config.model_copy(
        update={
            "network": network,
            "fine_tune": config.fine_tune.model_copy(update={"epochs": 0}),
        }
    )
    tiles = read_tiles(drawn_index, drawn_dir)
    trainer = Trainer(tiles, class_indices_of(drawn_index), frozen)
    fitted = trainer.fit(np.arange(9), np.arange(9, 12), seed=3)
    served = build_serving_model(fitted.base_weights, fitted.head_weights)(tiles[9:])
    np.testing.assert_allclose(served["logits"], fitted.test_logits, atol=1e-4)


def test_reconfigured_shares_features_only_where_they_are_the_same(
    drawn_index: Index, drawn_dir: Path, config: TrainingConfig
) -> None:
    tiles = read_tiles(drawn_index, drawn_dir)[:4]
    trainer = Trainer(tiles, class_indices_of(drawn_index)[:4], config)
    longer = config.model_copy(update={"head": config.head.model_copy(update={"epochs": 3})})
    fitted = trainer.reconfigured(longer).fit(np.arange(3), np.arange(3, 4), seed=0)
    assert [record.phase for record in fitted.history].count("head") == 3
    with pytest.raises(RunError, match="different features"):
        trainer.reconfigured(config.model_copy(update={"seed": 9}))


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
