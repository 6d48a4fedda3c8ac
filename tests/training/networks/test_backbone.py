"""Which layers are pooled, how, and what the graph leaves out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tests.training.tiny_system import TINY
from training.config import read_config
from training.errors import ConfigError, WeightsError
from training.networks.backbone import BackboneConfig, Pooling, feature_maps, layer_sizes
from training.networks.graphs import build_backbone, build_pooled, build_serving_model

SIDE_PX = 64
LAYERS = ("conv1", "last")


@pytest.fixture(scope="module")
def backbone() -> Any:
    import keras

    keras.utils.set_random_seed(0)
    return build_backbone("none", TINY, SIDE_PX)


@pytest.fixture(scope="module")
def scaled() -> Any:
    return np.random.default_rng(0).uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32)


def config_with(path: Path, line: str) -> Any:
    text = path.read_text().replace("[network]\n", f'[network]\nsystem = "tiny"\n{line}\n')
    path.write_text(text.replace("[fine_tune]\nepochs = 1", "[fine_tune]\nepochs = 0"))
    return read_config(path)


def test_backbone_config_refuses_a_layer_twice() -> None:
    with pytest.raises(ValidationError, match="names a layer twice: last, last"):
        BackboneConfig(layers=("last", "last"))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("backbone.layers = []", "at least 1 item"),
        ("backbone = {side_px = 32, tile_side_px = 80}", "must be a multiple of 32, not 80"),
        ("backbone.tile_side_px = 96", "must be a multiple of 64, not 96"),
        ('backbone.pooling = "max"', "'mean', 'deviation' or 'mean_and_deviation'"),
    ],
)
def test_read_config_refuses_an_impossible_backbone(
    tiny_config: Path, line: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        config_with(tiny_config, line)


def test_read_config_reads_the_sides_of_tiles_and_backbone(tiny_config: Path) -> None:
    network = config_with(tiny_config, "backbone = {side_px = 32, tile_side_px = 64}").network
    assert (network.backbone_side_px, network.input_side_px) == (32, 64)


@pytest.mark.parametrize("line", ['backbone.layers = ["conv1"]', 'backbone.pooling = "deviation"'])
def test_read_config_pools_other_features_of_a_frozen_backbone_only(
    tiny_config: Path, line: str
) -> None:
    assert not config_with(tiny_config, line).network.backbone.is_default
    text = tiny_config.read_text().replace("[fine_tune]\nepochs = 0", "[fine_tune]\nepochs = 1")
    tiny_config.write_text(text)
    with pytest.raises(ConfigError, match="from a frozen backbone only"):
        read_config(tiny_config)


@pytest.mark.tensorflow
def test_feature_maps_names_the_closest_layers(backbone: Any) -> None:
    with pytest.raises(WeightsError, match=r"tiny has no layer 'conv3'; the closest are conv"):
        feature_maps(backbone, BackboneConfig(layers=("conv3",)))


@pytest.mark.tensorflow
def test_feature_maps_refuses_a_layer_without_a_map() -> None:
    import keras

    tiles = keras.Input((8, 8, 3))
    flat = keras.layers.Flatten(name="flat")(tiles)
    with pytest.raises(WeightsError, match="'flat' does not return a feature map"):
        feature_maps(keras.Model(tiles, flat), BackboneConfig(layers=("flat",)))


@pytest.mark.tensorflow
@pytest.mark.parametrize("pooling", ["mean", "deviation", "mean_and_deviation"])
def test_build_pooled_equals_numpy(backbone: Any, scaled: Any, pooling: Pooling) -> None:
    config = BackboneConfig(layers=LAYERS, pooling=pooling)
    maps = [np.asarray(one) for one in feature_maps(backbone, config)(scaled, training=False)]
    parts = []
    for features in maps:
        means, deviations = features.mean(axis=(1, 2)), features.std(axis=(1, 2))
        chosen = {"mean": [means], "deviation": [deviations]}.get(pooling, [means, deviations])
        parts += [np.maximum(one, 1e-3) if one is deviations else one for one in chosen]
    pooled = build_pooled(backbone, config)
    np.testing.assert_allclose(pooled(scaled), np.concatenate(parts, axis=1), atol=1e-5)
    assert sum(layer_sizes(backbone, config)) == pooled.output_shape[1]
    assert layer_sizes(backbone, config) == (8 * config.n_statistics, 16 * config.n_statistics)


@pytest.mark.tensorflow
def test_build_pooled_averages_squares_of_pixels(backbone: Any) -> None:
    larger = np.random.default_rng(0).uniform(-1, 1, (2, 128, 128, 3)).astype(np.float32)
    reduced = larger.reshape(2, 64, 2, 64, 2, 3).mean(axis=(2, 4))
    pooled = build_pooled(backbone, BackboneConfig(side_px=64, tile_side_px=128))
    np.testing.assert_allclose(pooled(larger), build_pooled(backbone)(reduced), atol=1e-5)


@pytest.mark.tensorflow
def test_build_serving_model_leaves_out_what_follows_the_deepest_layer(backbone: Any) -> None:
    def n_weights(*layers: str) -> int:
        config = BackboneConfig(layers=layers, side_px=SIDE_PX)
        size = sum(layer_sizes(backbone, config))
        head = [np.zeros(shape, np.float32) for shape in ((size, 6), (6,), (6, 3), (3,))]
        model = build_serving_model(backbone.get_weights(), head, TINY, config)
        return int(model.count_params()) - size * 6

    early, last = n_weights("conv1"), n_weights("last")
    deeper = (backbone.get_layer(name).count_params() for name in ("conv2", "norm2"))
    assert last - early == sum(deeper)
    assert n_weights("conv1", "last") == last
