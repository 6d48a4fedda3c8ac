"""Fits of a logistic head on layers, texture rows and thumbnails, as the service will compute."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.core.tile import decode_tile
from tests.training.conftest import TINY_CONFIG
from tests.training.table.drawing import drawn_rows, write_rows
from tests.training.tiny_system import TINY
from training.config import TrainingConfig, read_config
from training.data.drawn_tiles import draw_tile, encode_tile
from training.data.groups import Groups
from training.data.index import Index
from training.errors import RunError
from training.features.extract import read_tiles
from training.features.prepare import PreparedFeatures, prepare_features
from training.features.supplements import Supplements, read_supplements
from training.fit.classifier import fit_classifier
from training.fit.logistic_parts import fit_layer, fit_texture
from training.networks.graphs import build_serving_model
from training.networks.registry import SYSTEMS
from training.runs.records import class_indices_of

pytestmark = pytest.mark.tensorflow

ALL = np.arange(12)
CASE_3, CASE_48 = np.arange(6), np.arange(6, 12)
"""Two slides each, with one tile of each label."""
THUMBNAILS = (
    *("Viable/Case-3-A1-7-7", "Non-Tumor/Case-3-A2-7-7", "Viable/Case-3-A9-7-7"),
    *("Viable/Case-48-P5-A1-7-7", "Non-Tumor/Case-9-A1-7-7"),
)


@pytest.fixture(scope="module", autouse=True)
def _environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SYSTEMS, TINY.name, TINY)
        for name in ("OSTEO_FEATURE_TABLE", "OSTEO_THUMBNAILS"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainingConfig:
    """Two layers, both statistics, texture, and thumbnails."""
    folder = tmp_path_factory.mktemp("logistic")
    for seed, name in enumerate(THUMBNAILS):
        path = folder / "thumbnails" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_tile(draw_tile("viable_tumor", 108, seed)))
    rows = drawn_rows()
    for number, row in enumerate(rows):  # both preparations, with all labels of each case
        row["X_x"] = str(540 if (number // 3) % 2 else 550)
    table = write_rows(folder / "table.csv", rows)
    network = """[network]
system = "tiny"
head = "logistic"
texture_weight = 1.0
backbone = {layers = ["conv1", "last"], pooling = "mean_and_deviation", side_px = 32,
            tile_side_px = 64}
""".replace(",\n           ", ",")
    text = TINY_CONFIG.replace("[network]\n", network)
    text = text.replace("n_views = 1", "n_views = 1\nlow_resolution_px = 24")
    more = f"""[sampling]
balance = "case_and_label"
[supplements]
thumbnails = "{folder}/thumbnails"
feature_table = "{table}"
"""
    path = folder / "tiny.toml"
    path.write_text(text.partition("[fine_tune]")[0] + more)
    return read_config(path)


@pytest.fixture(scope="module")
def tiles(drawn_index: Index, drawn_dir: Path) -> NDArray[np.uint8]:
    return read_tiles(drawn_index, drawn_dir, 64)


@pytest.fixture(scope="module")
def features(
    config: TrainingConfig, tiles: NDArray[np.uint8], drawn_index: Index, drawn_dir: Path
) -> PreparedFeatures:
    """No test writes into its arrays."""
    supplements = read_supplements(config, drawn_index, drawn_dir)
    classes = class_indices_of(drawn_index)
    groups = Groups.of(drawn_index)
    return prepare_features(tiles, classes, config, groups, supplements=supplements)


def test_fitted_weights_give_the_logits_of_training(
    features: PreparedFeatures,
    config: TrainingConfig,
    tiles: NDArray[np.uint8],
    drawn_index: Index,
    drawn_dir: Path,
) -> None:
    """The service decodes a tile at the bundle's side, and the graph computes what was measured."""
    fitted = fit_classifier(features, config, CASE_3, CASE_48, seed=0)
    network = config.network
    served = build_serving_model(
        fitted.backbone_weights, fitted.head_weights, network.entry, network.backbone, True
    )
    files = [drawn_dir / tile.file for tile in drawn_index.tiles]
    decoded = np.stack([decode_tile(f.read_bytes(), side_px=network.input_side_px) for f in files])
    np.testing.assert_array_equal(decoded, tiles)
    answer = served(decoded)
    np.testing.assert_allclose(answer["logits"][6:], fitted.test_logits, atol=1e-4)
    assert fitted.embeddings is not None
    np.testing.assert_allclose(answer["embedding"], fitted.embeddings, atol=1e-5)
    assert features.layer_sizes == (16, 32)
    assert features.embeddings().shape == (12, 48 + 104)
    assert len(fitted.history) == 1


def test_fit_repeats_itself(features: PreparedFeatures, config: TrainingConfig) -> None:
    one, other = (fit_classifier(features, config, CASE_3, CASE_48, seed=0) for _ in range(2))
    for weights, same in zip(one.head_weights, other.head_weights, strict=True):
        np.testing.assert_array_equal(weights, same)


@pytest.mark.parametrize(
    ("train", "teaching"),
    [
        (ALL, (*THUMBNAILS[:3], THUMBNAILS[3])),  # no tile of Case 9 is known
        (CASE_3, THUMBNAILS[:3]),
        (CASE_3[:3], (THUMBNAILS[0], THUMBNAILS[2])),  # slide A2 of Case 3 is not in the fold
        (CASE_48[3:], ()),
    ],
)
def test_taught_by_adds_the_thumbnails_that_leak_nothing(
    features: PreparedFeatures, train: NDArray[np.int64], teaching: tuple[str, ...]
) -> None:
    thumbnails = features.supplements.thumbnails
    assert thumbnails is not None
    taught = features.taught_by(train)
    np.testing.assert_array_equal(taught[: len(train)], train)
    names = {thumbnails.names[position - features.n_real] for position in taught[len(train) :]}
    assert names == {name.partition("/")[2] for name in teaching}


def test_a_tested_case_changes_no_weight(
    features: PreparedFeatures, config: TrainingConfig
) -> None:
    """Its tiles, thumbnails and rows may say anything: the fit does not see them."""
    rows, thumbnails = features.supplements.texture_rows, features.supplements.thumbnails
    assert rows is not None
    assert thumbnails is not None
    expected = fit_classifier(features, config, CASE_3, CASE_48, seed=0)

    def fit_with_other(case: str) -> list[NDArray[np.float32]]:
        values = rows.values.copy()
        values[rows.places.cases == case] *= -7
        pooled = np.array(features.pooled)
        cases = features.supplements.places.cases  # type: ignore[union-attr] # is given
        pooled[np.concatenate([cases, thumbnails.places.cases]) == case] *= -7
        supplements = replace(features.supplements, texture_rows=replace(rows, values=values))
        changed = replace(features, pooled=pooled, supplements=supplements)
        return fit_classifier(changed, config, CASE_3, CASE_48, seed=0).head_weights

    for weights, same in zip(expected.head_weights, fit_with_other("Case 48"), strict=True):
        np.testing.assert_array_equal(weights, same)
    assert not np.array_equal(expected.head_weights[0], fit_with_other("Case 3")[0])


def test_a_thumbnail_teaches_at_low_resolution_only(
    features: PreparedFeatures, config: TrainingConfig
) -> None:
    train = features.taught_by(CASE_3)
    before = fit_layer(features, config, train, 0).kernel
    changed = {}
    for views in ((0, 1), (2, 3)):
        pooled = np.array(features.pooled)
        pooled[features.n_real :, views] += np.random.default_rng(0).normal(size=48)
        kernel = fit_layer(replace(features, pooled=pooled), config, train, 0).kernel
        changed[views] = not np.array_equal(kernel, before)
    assert changed == {(0, 1): False, (2, 3): True}


def test_fit_refuses_a_fold_with_one_label(
    features: PreparedFeatures, config: TrainingConfig
) -> None:
    single = CASE_48[features.class_indices[CASE_48] == 0]
    with pytest.raises(RunError, match="needs training tiles of two labels"):
        fit_classifier(features, config, single, CASE_48[:0], seed=0)


def test_fit_texture_refuses_a_fold_without_rows(
    features: PreparedFeatures, config: TrainingConfig
) -> None:
    with pytest.raises(RunError, match="no rows of two labels for a fold"):
        fit_texture(features, config, CASE_48[:0])
    without = replace(features, supplements=Supplements())
    with pytest.raises(RunError, match="no feature table"):
        fit_texture(without, config, CASE_3)


def test_a_label_that_a_fold_lacks_is_never_predicted(
    features: PreparedFeatures, config: TrainingConfig
) -> None:
    rows = features.supplements.texture_rows
    assert rows is not None
    others = np.where(features.class_indices == 1, 0, features.class_indices)
    of_rows = np.where(rows.class_indices == 1, 0, rows.class_indices)
    supplements = replace(features.supplements, texture_rows=replace(rows, class_indices=of_rows))
    changed = replace(features, class_indices=others, supplements=supplements)
    fitted = fit_classifier(changed, config, CASE_48, CASE_3, seed=0)
    assert not (fitted.test_logits.argmax(axis=1) == 1).any()


def test_prepare_features_asks_for_the_table(
    config: TrainingConfig, tiles: NDArray[np.uint8], drawn_index: Index
) -> None:
    with pytest.raises(RunError, match="--feature-table or OSTEO_FEATURE_TABLE"):
        prepare_features(tiles, class_indices_of(drawn_index), config, Groups.of(drawn_index))
