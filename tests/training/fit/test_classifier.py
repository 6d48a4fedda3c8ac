from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from training.config import SamplingConfig, TrainingConfig, read_config
from training.data.drawn_tiles import draw_tile
from training.data.groups import Groups
from training.data.index import Index
from training.data.labels import LABEL_IDS
from training.errors import RunError
from training.features.cache import FeatureCache
from training.features.extract import read_tiles
from training.features.prepare import prepare_features
from training.fit.classifier import fit_classifier
from training.networks.backbone import BackboneConfig
from training.networks.graphs import build_serving_model
from training.networks.registry import SYSTEMS
from training.runs.records import class_indices_of

pytestmark = pytest.mark.tensorflow


SIDE_PX = 64
"""The feature map has 4 x 4 positions."""


@pytest.fixture
def config(tiny_config: Path) -> TrainingConfig:
    network = f'[network]\nsystem = "tiny"\nbackbone.side_px = {SIDE_PX}\n'
    text = tiny_config.read_text().replace("[network]\n", network)
    tiny_config.write_text(text.replace('"Conv_1"', '"conv2"'))
    return read_config(tiny_config)


@pytest.fixture(scope="module")
def tiles(drawn_index: Index, drawn_dir: Path) -> NDArray[np.uint8]:
    return read_tiles(drawn_index, drawn_dir, SIDE_PX)


@pytest.mark.usefixtures("both_ways")
def test_fit_repeats_itself_and_records_both_phases(
    drawn_index: Index, tiles: NDArray[np.uint8], config: TrainingConfig
) -> None:
    features = prepare_features(tiles, class_indices_of(drawn_index), config)
    train, test = np.arange(9), np.arange(9, 12)
    one, other = (fit_classifier(features, config, train, test, seed=3) for _ in range(2))
    np.testing.assert_allclose(one.test_logits, other.test_logits, atol=1e-6)
    assert [(r.phase, r.epoch) for r in one.history] == [
        ("head", 1),
        ("head", 2),
        ("fine_tune", 1),
    ]
    assert all(np.isfinite(record.loss) for record in one.history)
    assert one.history[-1].test_accuracy is not None
    different = fit_classifier(features, config, train, test, seed=4)
    assert not np.allclose(one.test_logits, different.test_logits, rtol=1e-3, atol=0)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("fine_tune_epochs", [0, 1])
def test_cached_features_replace_the_backbone_and_change_nothing(
    drawn_index: Index,
    tiles: NDArray[np.uint8],
    config: TrainingConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fine_tune_epochs: int,
) -> None:
    fine_tune = config.fine_tune.model_copy(update={"epochs": fine_tune_epochs})
    config = config.model_copy(update={"fine_tune": fine_tune})
    classes = class_indices_of(drawn_index)
    cache = FeatureCache.of(tmp_path / "cache", drawn_index)
    train, test = np.arange(9), np.arange(9, 12)

    def fit(used: FeatureCache | None) -> np.ndarray:
        features = prepare_features(tiles, classes, config, cache=used)
        return fit_classifier(features, config, train, test, seed=3).test_logits

    plain, first = fit(None), fit(cache)

    def refuse(*_: object) -> None:
        raise AssertionError("a view is drawn, so the backbone runs again")

    monkeypatch.setattr("training.features.extract.draw_views", refuse)
    again = fit(cache)
    np.testing.assert_allclose(first, plain, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(again, first, rtol=1e-4, atol=1e-9)
    with pytest.raises(AssertionError, match="the backbone runs again"):
        prepare_features(tiles, classes, config.model_copy(update={"seed": 9}), cache=cache)


@pytest.mark.usefixtures("eagerly")
def test_fit_on_all_tiles_tests_nothing(
    drawn_index: Index, tiles: NDArray[np.uint8], config: TrainingConfig
) -> None:
    fine_tune = config.fine_tune.model_copy(update={"epochs": 0})
    frozen = config.model_copy(update={"fine_tune": fine_tune})
    features = prepare_features(tiles, class_indices_of(drawn_index), frozen)
    nothing = np.array([], dtype=np.int64)
    fitted = fit_classifier(features, frozen, np.arange(12), nothing, seed=0)
    assert fitted.test_logits.shape == (0, 3)
    assert {record.phase for record in fitted.history} == {"head"}
    assert fitted.history[-1].test_loss is None


@pytest.mark.usefixtures("both_ways")
def test_fit_takes_every_ingredient_at_once(
    drawn_index: Index, tiles: NDArray[np.uint8], config: TrainingConfig
) -> None:
    """Symmetries, stain jitter, standardised features, balance, decay, smoothing, fine-tuning."""
    augment = config.augment.model_copy(update={"symmetries": True, "stain_scale": 0.1})
    network = config.network.model_copy(update={"standardize": 0.1})
    phase = {"weight_decay": 0.1, "label_smoothing": 0.1}
    everything = config.model_copy(
        update={
            "augment": augment,
            "network": network,
            "sampling": SamplingConfig(balance="case_and_label"),
            "head": config.head.model_copy(update=phase),
            "fine_tune": config.fine_tune.model_copy(update=phase),
        }
    )
    classes = class_indices_of(drawn_index)
    with pytest.raises(RunError, match="needs the slides and cases"):
        prepare_features(tiles, classes, everything)
    features = prepare_features(tiles, classes, everything, Groups.of(drawn_index))
    fitted = fit_classifier(features, everything, np.arange(9), np.arange(9, 12), seed=3)
    assert [weights.shape for weights in fitted.head_weights] == [(16, 8), (8,), (8, 3), (3,)]
    assert np.isfinite(fitted.test_logits).all()
    assert [record.phase for record in fitted.history] == ["head", "head", "fine_tune"]


@pytest.mark.parametrize("fine_tune_epochs", [0, 1])
def test_fitted_weights_give_the_logits_and_the_embeddings(
    drawn_index: Index, tiles: NDArray[np.uint8], config: TrainingConfig, fine_tune_epochs: int
) -> None:
    """The exported graph computes what was measured, and another fit does not change it."""
    changed = config.model_copy(
        update={
            "network": config.network.model_copy(update={"standardize": 0.1}),
            "fine_tune": config.fine_tune.model_copy(update={"epochs": fine_tune_epochs}),
        }
    )
    features = prepare_features(tiles, class_indices_of(drawn_index), changed)
    fitted = fit_classifier(features, changed, np.arange(9), np.arange(9, 12), seed=3)
    fit_classifier(features, changed, np.arange(3, 12), np.arange(3), seed=4)
    weights = fitted.backbone_weights, fitted.head_weights
    served = build_serving_model(
        *weights, system=SYSTEMS["tiny"], config=BackboneConfig(side_px=SIDE_PX)
    )(tiles)
    np.testing.assert_allclose(served["logits"][9:], fitted.test_logits, atol=1e-4)
    assert fitted.embeddings is not None
    np.testing.assert_allclose(served["embedding"], fitted.embeddings, rtol=1e-3, atol=1e-6)


@pytest.mark.usefixtures("eagerly")
def test_features_are_shared_by_configurations_with_the_same_features_only(
    drawn_index: Index, tiles: NDArray[np.uint8], config: TrainingConfig
) -> None:
    tiles, classes = tiles[:4], class_indices_of(drawn_index)[:4]
    features = prepare_features(tiles, classes, config)
    longer = config.model_copy(update={"head": config.head.model_copy(update={"epochs": 3})})
    train, test = np.arange(3), np.arange(3, 4)
    fitted = fit_classifier(features, longer, train, test, seed=0)
    assert [record.phase for record in fitted.history].count("head") == 3
    with pytest.raises(RunError, match="different features"):
        fit_classifier(features, config.model_copy(update={"seed": 9}), train, test, seed=0)
    by_slide = config.model_copy(update={"sampling": SamplingConfig(balance="slide")})
    with pytest.raises(RunError, match="needs the slides and cases"):
        fit_classifier(features, by_slide, train, test, seed=0)


@pytest.mark.real_tiles
def test_fit_learns_the_drawn_labels(real_weights: str, config: TrainingConfig) -> None:
    """With ImageNet weights, five drawn tiles per label are enough to classify five others."""
    drawn = [
        (draw_tile(label, 96, seed), i) for seed in range(10) for i, label in enumerate(LABEL_IDS)
    ]
    tiles = np.stack([tile for tile, _ in drawn])
    truth = np.array([i for _, i in drawn])
    released = {
        "system": "mobilenetv2",
        "weights": real_weights,
        "backbone": BackboneConfig(side_px=96),
    }
    network = config.network.model_copy(update={**released, "hidden_units": 100})
    fine_tune = config.fine_tune.model_copy(update={"first_layer": "block_16_expand"})
    head = config.head.model_copy(update={"epochs": 10})
    learning = config.model_copy(update={"network": network, "head": head, "fine_tune": fine_tune})
    features = prepare_features(tiles, truth, learning)
    fitted = fit_classifier(features, learning, np.arange(15), np.arange(15, 30), seed=0)
    assert (fitted.test_logits.argmax(axis=1) == truth[15:]).mean() >= 14 / 15
