"""Prepare what all fits on the same tiles share: features, labels, groups, backbone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.config import TrainingConfig
from training.data.groups import Groups
from training.data.synthetic import SyntheticTiles
from training.data.tiles import Tiles
from training.errors import RunError
from training.features.cache import FeatureCache, StoredViews
from training.features.extract import cache_features, draw_all, pool_features
from training.networks.backbone import BackboneConfig
from training.networks.graphs import (
    SplitBackbone,
    Weights,
    build_backbone,
    build_pooled,
    split_backbone,
)


@dataclass(frozen=True, slots=True)
class TunableLayers:
    """The backbone cut where fine-tuning begins, and the features at the cut.

    Attributes:
        network: the cut backbone; a fit trains `trainable` in place.
        start_weights: the weights of `trainable` that every fit starts from.
        features: float32 `[n, 1 + n_views, ...]`, the input of `trainable`.
    """

    network: SplitBackbone
    start_weights: Weights
    features: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PreparedFeatures:
    """The inputs of every fit: real tiles first, then the synthetic ones.

    Attributes:
        key: `features_key` of the configuration.
        pooled: float32 `[n, 1 + n_views, E]`, view 0 is the original tile; for a system that is
            trained from scratch, the views themselves: uint8 `[n, 1 + n_views, side, side, 3]` RGB.
        class_indices: int64 `[n]`, positions of the labels.
        groups: slides and cases of the tiles.
        n_real: number of real tiles.
        synthetic: assigns synthetic tiles to folds.
        backbone: the pretrained Keras graph; None for a system that is trained from scratch.
        tunable: None if there is no fine-tuning.
    """

    key: str
    pooled: NDArray[Any]
    class_indices: NDArray[np.int64]
    groups: Groups | None
    n_real: int
    synthetic: SyntheticTiles | None = None
    backbone: Any | None = None
    tunable: TunableLayers | None = None

    def require_fit(self, config: TrainingConfig) -> None:
        """Check that a configuration can be fitted on these features.

        Raises:
            RunError: its features differ (see `features_key`), or it needs slides and cases.
        """
        if features_key(config) != self.key:
            raise RunError(
                "This configuration has different features; prepare features for it first."
            )
        _require_groups(self.groups, config)


def prepare_features(
    tiles: Tiles,
    class_indices: NDArray[np.int64],
    config: TrainingConfig,
    groups: Groups | None = None,
    synthetic: SyntheticTiles | None = None,
    cache: FeatureCache | None = None,
) -> PreparedFeatures:
    """Build the backbone and run its frozen part on every view of every tile.

    Args:
        tiles: tiles with the side of the network's input; read after the network is built.
        class_indices: int64 `[n]`, positions of the labels.
        config: the run's configuration.
        groups: slides and cases of the tiles, for `sampling.balance`.
        synthetic: the tiles for `gan.proportion`; see `training.gan.supply`.
        cache: stores the features for the next command.

    Raises:
        WeightsError: the backbone's weights are missing or belong to another network.
        RunError: the configuration needs groups or synthetic tiles, and there are none.
        DataError: a tile cannot be read.
        CacheError: the disk is full.
    """
    _require_groups(groups, config)
    n_real = len(tiles)
    synthetic = _require_synthetic(synthetic, n_real, config)
    if synthetic is not None:
        tiles, class_indices, groups = synthetic.appended_to(tiles, class_indices, groups)
        if cache is not None:
            cache = replace(cache, tiles=(*cache.tiles, *synthetic.sha256s))
    key = features_key(config)
    system = config.network.entry
    if not system.is_pretrained:
        views = draw_all(tiles, config.augment, config.seed)
        return PreparedFeatures(key, views, class_indices, groups, n_real, synthetic)
    backbone, tunable, pooled = _run_backbone(tiles, config, cache)
    return PreparedFeatures(
        key, pooled, class_indices, groups, n_real, synthetic, backbone, tunable
    )


def features_key(config: TrainingConfig) -> str:
    """What decides the features; configurations with the same key can share them."""
    network, tune = config.network, config.fine_tune
    seam = tune.first_layer if tune.epochs > 0 else "pooled"
    layers = network.backbone.model_dump_json()
    network_key = f"{network.system} {network.weights} {network.backbone_side_px} {layers} {seam}"
    views = f"{config.augment.model_dump_json()} {config.gan.model_dump_json()}"
    return f"{network_key} {config.seed} {views}"


def _run_backbone(
    tiles: Tiles, config: TrainingConfig, cache: FeatureCache | None
) -> tuple[Any, TunableLayers | None, NDArray[np.float32]]:
    import keras

    network, system = config.network, config.network.entry
    keras.utils.set_random_seed(config.seed)  # an untrained backbone has random weights
    backbone = build_backbone(network.weights, system, network.backbone_side_px)

    def stored(output: str) -> StoredViews | None:
        return cache.open(network, config.seed, output) if cache else None

    views = config.augment, config.seed, system.scaling
    if config.fine_tune.epochs == 0:
        pooled_graph = build_pooled(backbone, network.backbone)
        name = _output_name(network.backbone)
        pooled = cache_features(pooled_graph, tiles, *views, stored(name))
        return backbone, None, pooled
    seam = config.fine_tune.first_layer or system.seam or ""
    cut = split_backbone(backbone, seam)
    features = cache_features(cut.frozen, tiles, *views, stored(seam))
    tunable = TunableLayers(cut, cut.trainable.get_weights(), features)
    return backbone, tunable, pool_features(cut.trainable, features)


def _output_name(backbone: BackboneConfig) -> str:
    """Name of the features in the cache; features that were stored as `pooled` stay valid."""
    if backbone.is_default:
        return "pooled"
    reduced = f" from {backbone.tile_side_px} px" if backbone.tile_side_px else ""
    return f"{backbone.pooling} of {'+'.join(backbone.layers)}{reduced}"


def _require_synthetic(
    synthetic: SyntheticTiles | None, n_real: int, config: TrainingConfig
) -> SyntheticTiles | None:
    if config.gan.proportion == 0:
        return None
    if synthetic is None or synthetic.n_real != n_real:
        raise RunError(
            "gan.proportion asks for synthetic tiles, which this command cannot add. Set it to 0, "
            "or use 'osteo-train fit'."
        )
    return synthetic


def _require_groups(groups: Groups | None, config: TrainingConfig) -> None:
    balance = config.sampling.balance
    if groups is None and balance not in ("none", "label"):
        raise RunError(f"sampling.balance = {balance!r} needs the slides and cases of the tiles.")
