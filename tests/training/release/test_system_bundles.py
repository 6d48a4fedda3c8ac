"""Fresh bundles of the released network and of others, in the unchanged service."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.bundle import check_golden_tiles, open_bundle
from app.main import create_app
from app.runtime.litert import LiteRtRuntime
from app.settings import Settings
from training.config import TrainingConfig, read_config
from training.data.drawn_tiles import draw_tile, encode_tile
from training.data.index import Index
from training.data.labelled_tiles import LabelledTiles
from training.data.tiles import TileStream
from training.networks.architecture import System
from training.networks.graphs import build_backbone
from training.networks.registry import SYSTEMS
from training.networks.svm_head import fit_svm
from training.release.assembly import assemble_bundle
from training.runs.records import Answer, CrossValidation

pytestmark = pytest.mark.tensorflow

NO_HASH = "0" * 64
FOLDS = ("fold 1", "fold 2")
SERVED = {"mobilenetv2": 32, "vgg16": 32, "alexnet": 96}
"""The default and others, with the input side.

test_registry.py compares all as graphs. own_tiles/test_end_to_end.py releases `ahmed-cnn`, and a
small network with the layers of the pretrained ones, which take half a minute to convert.
"""


def weights_of(system: System, side_px: int) -> tuple[list[Any], list[Any]]:
    """An untrained backbone and a random head with small weights, so that wrong scaling shows."""
    import keras

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    shapes = ((system.embedding_size, 8), (8,), (8, 3), (3,))
    head = [rng.normal(0, 0.1, shape).astype(np.float32) for shape in shapes]
    return build_backbone("none", system, side_px).get_weights(), head


def run_of(config: TrainingConfig, index: Index) -> CrossValidation:
    """A cross-validation by slide whose predictions are correct, but not certain."""
    logits = dict(zip(sorted(set(index.labels)), np.eye(3), strict=True))
    record = {"phase": "head", "epoch": 1, "loss": 1.0, "accuracy": 1.0}
    record |= {"test_loss": 1.0, "test_accuracy": 1.0}
    return CrossValidation(
        kind="slide",
        split_sha256=NO_HASH,
        index_sha256=NO_HASH,
        config=config,
        answers=tuple(
            Answer(
                tile=tile.name,
                slide=tile.slide,
                fold=FOLDS[number % 2],
                label=tile.label,
                logits=tuple(logits[tile.label]),
            )
            for number, tile in enumerate(index.tiles)
        ),
        history=dict.fromkeys(FOLDS, (record,)),
    )


@pytest.fixture(params=SERVED)
def bundle_dir(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    tiny_config: Path,
    drawn_index: Index,
    drawn_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    # An untrained network changes predictions however many convolutions stay in float.
    monkeypatch.setattr("training.release.quantize._FLOAT_CONVOLUTIONS", (0, 3))
    name, side_px = request.param, SERVED[request.param]
    network = f'[network]\nsystem = "{name}"\nbackbone.side_px = {side_px}\n'
    text = tiny_config.read_text().replace("[network]\n", network)
    text = text.replace("[fine_tune]\nepochs = 1", "[fine_tune]\nepochs = 0")
    tiny_config.write_text(text)
    config = read_config(tiny_config)
    path = tmp_path / "models" / config.model_name / config.model_version
    runs = [run_of(config, drawn_index)]
    tiles = TileStream(drawn_index, drawn_dir, config.network.input_side_px)
    labelled = LabelledTiles(drawn_index, NO_HASH, drawn_dir, tiles)
    weights = weights_of(config.network.entry, config.network.input_side_px)
    assemble_bundle(path, labelled, weights, runs, config)
    return path


@pytest.mark.exhaustive
def test_service_serves_a_bundle_of_any_system(bundle_dir: Path) -> None:
    bundle = open_bundle(bundle_dir)
    manifest = bundle.manifest
    system = SYSTEMS[manifest.training["network"]["system"]]
    side_px = SERVED[system.name]
    assert manifest.input.side_px == side_px
    assert manifest.embedding_size == system.embedding_size
    assert manifest.cam_shape == (system.map_side * side_px // system.side_px,) * 2
    assert system.title in (bundle_dir / "model-card.md").read_text()
    assert manifest.weights.licence == "none needed"

    runtime = LiteRtRuntime(bundle.litert_file, n_workers=1)
    assert check_golden_tiles(bundle, lambda tiles: runtime.infer(tiles).logits) < 1e-3
    runtime.close()

    settings = Settings(models_dir=bundle_dir.parents[1], model_name="drawn", runtime="litert")
    with TestClient(create_app(settings)) as client:
        deadline = time.monotonic() + 30
        while client.get("/readyz").status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.01)
        tile_bytes = encode_tile(draw_tile("viable_tumor", 400, 3))
        answer = client.post("/v1/classify", content=tile_bytes)
        assert answer.status_code == 200, answer.text
        assert sum(answer.json()["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)
        assert answer.json()["model"]["name"] == "drawn"


def test_svm_head_equals_the_linear_support_vector_machine() -> None:
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    rng = np.random.default_rng(0)
    truth = np.arange(60) % 3
    features = (rng.normal(0, 1, (60, 5)) + 2 * np.eye(5)[truth] + 7).astype(np.float32)
    kernel, bias, mixing, offset = fit_svm(features, truth, 3, seed=0)
    logits = np.maximum(features @ kernel + bias, 0) @ mixing + offset
    scaler = StandardScaler().fit(features)
    machine = LinearSVC(random_state=0, max_iter=20_000).fit(scaler.transform(features), truth)
    expected = machine.decision_function(scaler.transform(features))
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert (logits.argmax(axis=1) == truth).mean() > 0.8


@pytest.mark.parametrize("seen", [(0, 2), (1, 2)])
def test_svm_head_never_predicts_a_label_without_tiles(seen: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat(seen, 10)
    features = (rng.normal(0, 1, (20, 4)) + 3 * np.eye(4)[truth]).astype(np.float32)
    kernel, bias, mixing, offset = fit_svm(features, truth, 3, seed=0)
    logits = np.maximum(features @ kernel + bias, 0) @ mixing + offset
    assert (logits.argmax(axis=1) == truth).all()
