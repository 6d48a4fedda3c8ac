"""Prepare what all fits on the same tiles share: features, labels, groups, backbone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.config import TrainingConfig
from training.console.progress import tracked
from training.data.groups import Groups
from training.data.synthetic import SyntheticTiles
from training.data.tiles import Tiles, in_order
from training.errors import RunError
from training.features.cache import FeatureCache, StoredViews
from training.features.extract import as_function, cache_features, draw_all, pool_features
from training.features.supplements import NO_SUPPLEMENTS, Supplements
from training.networks.backbone import BackboneConfig, layer_sizes
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
    """The inputs of every fit: the tiles of the index, then synthetic tiles or thumbnails.

    Attributes:
        key: `features_key` of the configuration.
        pooled: float32 `[n, n_shown, E]`, view 0 is the original tile; for a system that is
            trained from scratch, the views themselves: uint8 `[n, n_shown, side, side, 3]` RGB.
        class_indices: int64 `[n]`, positions of the labels.
        groups: slides and cases of the tiles.
        n_real: number of tiles of the index.
        synthetic: assigns synthetic tiles to folds.
        supplements: thumbnails and table rows that also teach.
        texture: float32 `[n, 104]`, the texture measures of the original tiles; None if texture
            has no weight.
        layer_sizes: features of each pooled layer; their sum is E. Empty unless the backbone is
            frozen.
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
    supplements: Supplements = NO_SUPPLEMENTS
    texture: NDArray[np.float32] | None = None
    layer_sizes: tuple[int, ...] = ()

    def embeddings(self) -> NDArray[np.float32]:
        """What a head takes of the original tiles of the index: float32 `[n_real, E (+ 104)]`."""
        pooled: NDArray[np.float32] = self.pooled[: self.n_real, 0]
        if self.texture is None:
            return pooled
        return np.concatenate([pooled, self.texture[: self.n_real]], axis=1)

    @property
    def first_thumbnail(self) -> int:
        """Position of the first thumbnail; the number of tiles if there is none."""
        return len(self.pooled) if self.supplements.thumbnails is None else self.n_real

    def taught_by(self, train: NDArray[np.int64]) -> NDArray[np.int64]:
        """Append the thumbnails that may teach a fold to its training positions, int64."""
        thumbnails, places = self.supplements.thumbnails, self.supplements.places
        if thumbnails is None or places is None:
            return train
        allowed = np.flatnonzero(thumbnails.places.may_teach(places, train))
        return np.concatenate([train, self.n_real + allowed])

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
    supplements: Supplements = NO_SUPPLEMENTS,
) -> PreparedFeatures:
    """Build the backbone and run its frozen part on every view of every tile.

    Args:
        tiles: tiles with the side of the network's input; read after the network is built.
        class_indices: int64 `[n]`, positions of the labels.
        config: the run's configuration.
        groups: slides and cases of the tiles, for `sampling.balance`.
        synthetic: the tiles for `gan.proportion`; see `training.gan.supply`.
        cache: stores the features for the next command.
        supplements: what else teaches, as the configuration asks.

    Raises:
        WeightsError: the backbone's weights are missing or belong to another network.
        RunError: the configuration needs groups or synthetic tiles, and there are none.
        DataError: a tile cannot be read.
        CacheError: the disk is full.
    """
    _require_groups(groups, config)
    _require_supplements(supplements, config)
    n_real = len(tiles)
    synthetic = _require_synthetic(synthetic, n_real, config)
    if synthetic is not None:
        tiles, class_indices, groups = synthetic.appended_to(tiles, class_indices, groups)
        if cache is not None:
            cache = replace(cache, tiles=(*cache.tiles, *synthetic.sha256s))
    thumbnails, places = supplements.thumbnails, supplements.places
    if thumbnails is not None and places is not None:
        tiles = thumbnails.appended_to(tiles)
        class_indices = np.concatenate([class_indices, thumbnails.class_indices])
        groups = Groups.of_places(places.followed_by(thumbnails.places))
        if cache is not None:
            cache = replace(cache, tiles=(*cache.tiles, *thumbnails.sha256s))
    texture = _measure_texture(tiles) if config.network.texture_weight > 0 else None
    key = features_key(config)
    system = config.network.entry
    if not system.is_pretrained:
        views = draw_all(tiles, config.augment, config.seed)
        return PreparedFeatures(key, views, class_indices, groups, n_real, synthetic)
    backbone, tunable, pooled, layer_sizes = _run_backbone(tiles, config, cache)
    return PreparedFeatures(
        key,
        pooled,
        class_indices,
        groups,
        n_real,
        synthetic,
        backbone,
        tunable,
        supplements,
        texture,
        layer_sizes,
    )


def features_key(config: TrainingConfig) -> str:
    """What decides the features; configurations with the same key can share them."""
    network, tune = config.network, config.fine_tune
    seam = tune.first_layer if tune.epochs > 0 else "pooled"
    layers = network.backbone.model_dump_json()
    network_key = f"{network.system} {network.weights} {network.backbone_side_px} {layers} {seam}"
    views = f"{config.augment.model_dump_json()} {config.gan.model_dump_json()}"
    more = f"{config.supplements.model_dump_json()} {config.network.texture_weight > 0}"
    return f"{network_key} {config.seed} {views} {more}"


def _run_backbone(
    tiles: Tiles, config: TrainingConfig, cache: FeatureCache | None
) -> tuple[Any, TunableLayers | None, NDArray[np.float32], tuple[int, ...]]:
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
        return backbone, None, pooled, layer_sizes(backbone, network.backbone)
    seam = config.fine_tune.first_layer or system.seam or ""
    cut = split_backbone(backbone, seam)
    features = cache_features(cut.frozen, tiles, *views, stored(seam))
    tunable = TunableLayers(cut, cut.trainable.get_weights(), features)
    return backbone, tunable, pool_features(cut.trainable, features), ()


def _measure_texture(tiles: Tiles) -> NDArray[np.float32]:
    """Texture measures of the tiles, float32 `[n, 104]`, by the layer that is exported."""
    from training.networks.texture import Texture

    measure = as_function(Texture())
    rows = (measure(tile[None])[0] for tile in in_order(tiles.__getitem__, len(tiles)))
    measured = tracked("Measuring texture")(range(len(tiles)))
    return np.stack([row for row, _ in zip(rows, measured, strict=True)])


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


def _require_supplements(supplements: Supplements, config: TrainingConfig) -> None:
    if config.network.texture_weight > 0 and supplements.texture_rows is None:
        raise RunError(
            "network.texture_weight is above 0, so the texture part learns from the collection's "
            "feature table. Name the file with --feature-table or OSTEO_FEATURE_TABLE."
        )


def _require_groups(groups: Groups | None, config: TrainingConfig) -> None:
    balance = config.sampling.balance
    if groups is None and balance not in ("none", "label"):
        raise RunError(f"sampling.balance = {balance!r} needs the slides and cases of the tiles.")
