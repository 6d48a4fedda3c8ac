"""The graphs: Grad-CAM compared with a tape, where fine-tuning cuts, weights of another network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.errors import WeightsError
from training.networks.backbone import BackboneConfig
from training.networks.graphs import (
    build_backbone,
    build_serving_model,
    require_weights,
    split_backbone,
)
from training.networks.registry import SYSTEMS

pytestmark = pytest.mark.tensorflow

SIDE_PX = 96
"""The feature map has 3 x 3 positions; test_registry.py takes the side of the release."""
HEAD_SHAPES = ((1280, 100), (100,), (100, 3), (3,))


@pytest.fixture(scope="module")
def backbone() -> Any:
    import keras

    keras.utils.set_random_seed(0)
    return build_backbone("none", side_px=SIDE_PX)


@pytest.fixture(scope="module")
def head_weights() -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.1, shape).astype(np.float32) for shape in HEAD_SHAPES]


@pytest.fixture(scope="module")
def tiles() -> Any:
    return np.random.default_rng(1).integers(0, 256, (2, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model(backbone: Any, head_weights: list[Any]) -> Any:
    config = BackboneConfig(side_px=SIDE_PX)
    return build_serving_model(backbone.get_weights(), head_weights, config=config)


@pytest.fixture(scope="module")
def answer(model: Any, tiles: Any) -> dict[str, Any]:
    return {name: value.numpy() for name, value in model(tiles).items()}


@pytest.fixture(scope="module")
def scaled(tiles: Any) -> Any:
    return tiles.astype(np.float32) / 127.5 - 1.0


@pytest.fixture(scope="module")
def features(backbone: Any, scaled: Any) -> Any:
    return backbone(scaled, training=False).numpy()


def test_build_serving_model_has_the_names_and_shapes_of_the_bundle_contract(
    model: Any, answer: dict[str, Any]
) -> None:
    assert (model.input.name, model.input.dtype) == ("tiles", "uint8")
    assert {name: value.shape for name, value in answer.items()} == {
        "logits": (2, 3),
        "embedding": (2, 1280),
        "cam": (2, 3, 3, 3),
    }
    assert all(value.dtype == np.float32 for value in answer.values())


def test_build_serving_model_scales_its_input_to_minus_one_and_one(
    answer: dict[str, Any], features: Any, head_weights: list[Any]
) -> None:
    embedding = features.mean(axis=(1, 2))
    np.testing.assert_allclose(answer["embedding"], embedding, atol=1e-5)
    hidden = np.maximum(embedding @ head_weights[0] + head_weights[1], 0)
    logits = hidden @ head_weights[2] + head_weights[3]
    np.testing.assert_allclose(answer["logits"], logits, atol=1e-4)


def test_grad_cam_equals_a_gradient_tape(
    answer: dict[str, Any], features: Any, head_weights: list[Any]
) -> None:
    import tensorflow

    w1, b1, w2, b2 = (tensorflow.constant(weight) for weight in head_weights)
    for class_index in range(3):
        with tensorflow.GradientTape() as tape:
            pooled = tensorflow.reduce_mean(features, axis=(1, 2))
            tape.watch(pooled)
            logits = tensorflow.nn.relu(pooled @ w1 + b1) @ w2 + b2
            chosen = logits[:, class_index]
        gradient = tape.gradient(chosen, pooled).numpy()
        expected = np.einsum("bhwk,bk->bhw", features, gradient)
        np.testing.assert_allclose(answer["cam"][..., class_index], expected, atol=2e-5)


@pytest.mark.parametrize("first_layer", ["block_16_expand", "Conv_1"])
def test_split_backbone_keeps_the_feature_map(
    backbone: Any, scaled: Any, features: Any, first_layer: str
) -> None:
    parts = split_backbone(backbone, first_layer)
    joined = parts.trainable(parts.frozen(scaled, training=False), training=False)
    np.testing.assert_allclose(joined, features, atol=1e-5)


def test_split_backbone_trains_convolutions_only(backbone: Any) -> None:
    parts = split_backbone(backbone, "block_16_expand")
    assert parts.frozen.trainable_variables == []
    names = {variable.path for variable in parts.trainable.trainable_variables}
    assert names
    assert not any("BN" in name or "bn" in name for name in names)


@pytest.mark.parametrize("first_layer", ["no_such_layer", "block_15_project"])
def test_split_backbone_refuses_a_layer_inside_a_block(backbone: Any, first_layer: str) -> None:
    with pytest.raises(WeightsError, match="first layer of a block"):
        split_backbone(backbone, first_layer)


def test_require_weights_names_the_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.h5.*OSTEO_WEIGHTS"):
        require_weights(str(tmp_path / "none.h5"))
    require_weights("imagenet")


# Keras 3.15 saves through an `__array__` call that NumPy 2 deprecates.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_build_backbone_refuses_weights_of_another_network(tmp_path: Path) -> None:
    import keras

    other = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
    path = tmp_path / "other.weights.h5"
    other.save_weights(path)
    with pytest.raises(WeightsError, match="does not hold VGG16 weights"):
        build_backbone(str(path), SYSTEMS["vgg16"], side_px=32)


def test_build_backbone_refuses_a_file_without_weights(tmp_path: Path) -> None:
    path = tmp_path / "x.weights.h5"
    path.write_bytes(b"not HDF5")
    with pytest.raises(WeightsError, match="does not hold VGG16 weights"):
        build_backbone(str(path), SYSTEMS["vgg16"], side_px=32)


def test_build_backbone_explains_a_failed_download(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    def fail(**_: object) -> None:
        raise Exception("URL fetch failure on https://example.org")  # noqa: TRY002 - as Keras does

    monkeypatch.setattr(keras.applications, "MobileNetV2", fail)
    with pytest.raises(WeightsError, match="could not download"):
        build_backbone("imagenet")
