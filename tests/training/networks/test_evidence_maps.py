"""The closed form of the evidence maps compared with a gradient tape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.tiny_system import TINY
from training.networks.backbone import (
    BackboneConfig,
    Pooling,
    feature_maps,
    layer_sizes,
    pool,
)
from training.networks.graphs import as_list, build_backbone, build_serving_model
from training.networks.svm_head import as_head

pytestmark = pytest.mark.tensorflow

SIDE_PX = 72
"""The map of the first layer has 18 rows, that of the last 5: squares at the edge are cut off."""
POOLINGS: tuple[Pooling, ...] = ("mean", "deviation", "mean_and_deviation")


def sampled(*layers: tuple[str, ...]) -> list[Any]:
    """All layers with all poolings; the plain tests take each once."""
    return [
        pytest.param(
            names,
            pooling,
            marks=() if i % len(POOLINGS) == POOLINGS.index(pooling) else pytest.mark.exhaustive,
        )
        for i, names in enumerate(layers)
        for pooling in POOLINGS
    ]


@dataclass(frozen=True, slots=True)
class Served:
    """A graph with its parts."""

    backbone: Any
    config: BackboneConfig
    head: list[NDArray[np.float32]]
    answer: dict[str, Any]
    tiles: NDArray[np.uint8]

    @property
    def maps(self) -> list[Any]:
        scaled = TINY.scaling.apply(self.tiles)
        return as_list(feature_maps(self.backbone, self.config)(scaled, training=False))


def serve(config: BackboneConfig, *, is_linear: bool = False, has_texture: bool = False) -> Served:
    import keras

    keras.utils.set_random_seed(0)
    backbone = build_backbone("none", TINY, config.side_px)
    rng = np.random.default_rng(0)
    size = sum(layer_sizes(backbone, config)) + 104 * has_texture
    shapes = ((size, 8), (8,), (8, 3), (3,))
    head = [rng.normal(0, 0.3, shape).astype(np.float32) for shape in shapes]
    if is_linear:
        head = as_head(rng.normal(0, 0.3, (size, 3)), rng.normal(0, 0.3, 3))
    side_px = config.side_px or TINY.side_px
    tiles = rng.integers(0, 256, (2, side_px, side_px, 3), np.uint8)
    model = build_serving_model(backbone.get_weights(), head, TINY, config, has_texture)
    answer = {name: value.numpy() for name, value in model(tiles).items()}
    return Served(backbone, config, head, answer, tiles)


def coarsened(share: NDArray[np.floating], rows: int) -> NDArray[np.floating]:
    """Average squares from the middle, as `same` pads; a cut square averages what there is."""
    factor = -(-share.shape[1] // rows)
    before = (rows * factor - share.shape[1]) // 2
    edges = [slice(max(i * factor - before, 0), (i + 1) * factor - before) for i in range(rows)]
    means = [[share[:, down, right].mean(axis=(1, 2)) for right in edges] for down in edges]
    return np.moveaxis(np.array(means), 2, 0)


def gradients(served: Served, class_index: int) -> list[NDArray[np.float32]]:
    """The gradient of one logit by each map, through the pooling and the head alone."""
    import tensorflow as tf

    w1, b1, w2, b2 = map(tf.constant, served.head)
    maps = served.maps
    with tf.GradientTape() as tape:
        tape.watch(maps)
        pooled = tf.concat([pool(one, served.config.pooling) for one in maps], axis=-1)
        measures = w1.shape[0] - pooled.shape[1]
        hidden = tf.nn.relu(tf.pad(pooled, [[0, 0], [0, measures]]) @ w1 + b1)
        logit = (hidden @ w2 + b2)[:, class_index]
    return [gradient.numpy() for gradient in tape.gradient(logit, maps)]


@pytest.mark.parametrize(
    ("layers", "pooling"),
    sampled(("last",), ("conv1",), ("conv1", "conv2", "last")),
)
def test_evidence_maps_equal_a_gradient_tape(layers: tuple[str, ...], pooling: Pooling) -> None:
    served = serve(BackboneConfig(layers=layers, pooling=pooling, side_px=SIDE_PX))
    rows = 18 if layers == ("conv1",) else 5
    assert served.answer["cam"].shape == (2, rows, rows, 3)
    for class_index in range(3):
        expected = np.zeros((2, rows, rows))
        for features, gradient in zip(served.maps, gradients(served, class_index), strict=True):
            n_places = features.shape[1] * features.shape[2]
            share = (n_places * features.numpy() * gradient).sum(axis=-1)
            expected = expected + coarsened(share, rows)
        np.testing.assert_allclose(served.answer["cam"][..., class_index], expected, atol=2e-4)


@pytest.mark.parametrize(("layers", "pooling"), sampled(("last",), ("conv1", "conv2")))
def test_evidence_maps_of_a_linear_head_add_up_to_the_logits(
    layers: tuple[str, ...], pooling: Pooling
) -> None:
    """At 64 px, each place of the coarsest map stands for as many places of the others."""
    config = BackboneConfig(layers=layers, pooling=pooling, side_px=64)
    served = serve(config, is_linear=True)
    bias = served.head[1][:3]
    totals = served.answer["cam"].mean(axis=(1, 2))
    # A channel that is the same everywhere has a deviation of 0.001, and no share in a map.
    atol = 1e-4 if pooling == "mean" else 2e-3
    np.testing.assert_allclose(totals + bias, served.answer["logits"], atol=atol)


def test_texture_has_a_part_in_the_logits_and_none_in_the_maps() -> None:
    served = serve(BackboneConfig(side_px=SIDE_PX), is_linear=True, has_texture=True)
    kernel, bias = served.head[0][:, :3], served.head[1][:3]
    of_layers = served.answer["embedding"] @ kernel[:16] + bias
    assert served.answer["embedding"].shape == (2, 16)
    assert not np.allclose(served.answer["logits"], of_layers, atol=1e-2)
    maps = np.einsum("bhwk,kc->bhwc", served.maps[0], kernel[:16])
    np.testing.assert_allclose(served.answer["cam"], maps, atol=1e-4)
