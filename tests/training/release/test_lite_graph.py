"""What an int8 file computes in float; test_logistic_release.py shows it for a small network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.runtime.litert import LiteRtRuntime
from training.data.drawn_tiles import draw_tile
from training.data.labels import LABEL_IDS
from training.networks.backbone import layer_sizes
from training.networks.config import NetworkConfig
from training.networks.graphs import build_backbone
from training.release.export import export_models
from training.release.lite_graph import Operation, outside_the_backbone, read_operations
from training.release.quantize import CalibrationSet


def operation(kind: str, inputs: set[int], outputs: set[int]) -> Operation:
    return Operation(kind, frozenset(inputs), frozenset(outputs), f"{kind} {outputs}", True)


def test_outside_the_backbone_is_what_leads_to_no_convolution() -> None:
    cast, scaled = operation("CAST", {0}, {1}), operation("MUL", {1}, {2})
    first, added = operation("CONV_2D", {2, 90}, {3}), operation("ADD", {3}, {4})
    last, pooled = operation("DEPTHWISE_CONV_2D", {4}, {5}), operation("MEAN", {5}, {6})
    early, texture = operation("MEAN", {3}, {7}), operation("LOG", {1}, {8})
    head = operation("FULLY_CONNECTED", {6, 7, 8}, {9})
    graph = [cast, scaled, first, added, last, pooled, early, texture, head]
    assert outside_the_backbone(graph) == [cast, pooled, early, texture, head]
    without_texture = [one for one in graph if one is not texture]
    assert outside_the_backbone(without_texture) == [pooled, early, head]


def require_float_behind_the_backbone(int8_file: Path) -> None:
    operations = read_operations(int8_file)
    outside = outside_the_backbone(operations)
    # These two have no float output.
    rounded = {one.kind for one in outside if not one.is_float} - {"ARG_MAX", "GREATER"}
    assert rounded == set()
    assert {"LOG", "BATCH_MATMUL", "SQRT"} <= {one.kind for one in outside}
    convolutions = [one for one in operations if one.is_convolution]
    assert convolutions
    assert not any(one.is_float for one in convolutions)


def require_same_answers(bundle_dir: Path, tiles: NDArray[np.uint8]) -> None:
    """The SavedModel and the fp32 file of a bundle answer the same."""
    import tensorflow as tf

    saved = tf.saved_model.load(str(bundle_dir / "saved_model"))
    expected = saved.signatures["serving_default"](tiles=tf.constant(tiles))
    runtime = LiteRtRuntime(bundle_dir / "model.tflite", n_workers=1)
    answer = runtime.infer(tiles)
    runtime.close()
    np.testing.assert_allclose(answer.logits, expected["logits"], atol=1e-4)
    np.testing.assert_allclose(answer.embedding, expected["embedding"], atol=1e-4)
    np.testing.assert_allclose(answer.cam, expected["cam"], atol=1e-4)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NDArray[np.uint8]]:
    """MobileNetV2 with several layers, both statistics, larger tiles and texture."""
    import keras

    keras.utils.set_random_seed(0)
    backbone_config = {
        "layers": ("block_3_project_BN", "block_6_expand_relu"),
        "pooling": "mean_and_deviation",
        "side_px": 64,
        "tile_side_px": 128,
    }
    network = NetworkConfig.model_validate(
        {"weights": "none", "head": "logistic", "texture_weight": 1, "backbone": backbone_config}
    )
    backbone = build_backbone("none", side_px=64)
    size = sum(layer_sizes(backbone, network.backbone)) + 104
    rng = np.random.default_rng(0)
    head = [rng.normal(0, 0.1, s).astype(np.float32) for s in ((size, 6), (6,), (6, 3), (3,))]
    tiles = np.stack([draw_tile(LABEL_IDS[i % 3], 128, i) for i in range(6)])
    folder = tmp_path_factory.mktemp("bundle")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.release.quantize._FLOAT_CONVOLUTIONS", (0,))
        weights = backbone.get_weights()
        calibration_set = CalibrationSet(tiles, 1.0, "0" * 64)
        export_models(folder, weights, head, calibration_set, network, lambda _: None)
    return folder, tiles


@pytest.mark.exhaustive
@pytest.mark.tensorflow
def test_int8_file_of_mobilenetv2_rounds_nothing_behind_the_backbone(
    exported: tuple[Path, NDArray[np.uint8]],
) -> None:
    require_float_behind_the_backbone(exported[0] / "model-int8.tflite")


@pytest.mark.exhaustive
@pytest.mark.tensorflow
def test_exported_files_of_mobilenetv2_agree(exported: tuple[Path, NDArray[np.uint8]]) -> None:
    require_same_answers(*exported)
