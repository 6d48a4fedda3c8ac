"""Store the features of tile views on disk, so that the next command can reuse them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.augmentation.views import AugmentConfig
from training.data.index import Index
from training.features.store import FeatureSpace, FeatureStore, row_key
from training.networks.config import NetworkConfig
from training.networks.graphs import UNTRAINED, weights_sha256


@dataclass(frozen=True, slots=True)
class StoredViews:
    """A store in which a row has all views of a tile.

    Attributes:
        store: features of one layer of one network.
        tiles: SHA-256 of each tile's bytes, in order.
    """

    store: FeatureStore
    tiles: tuple[str, ...]

    def keys(self, augment: AugmentConfig, seed: int) -> list[bytes]:
        """One key per tile. It contains the tile's position, which is part of the views' seed."""
        settings = augment.model_dump()
        return [
            row_key(tile, {"augment": settings, "seed": [seed, position]})
            for position, tile in enumerate(self.tiles)
        ]


@dataclass(frozen=True, slots=True)
class FeatureCache:
    """A folder with the features of an index's tiles."""

    folder: Path
    tiles: tuple[str, ...]

    @classmethod
    def of(cls, folder: Path, index: Index) -> FeatureCache:
        """The cache for the tiles of an index."""
        return cls(folder, tuple(tile.sha256 for tile in index.tiles))

    def open(self, network: NetworkConfig, seed: int, output: str) -> StoredViews:
        """Open the store for the output of one layer of a network.

        Args:
            network: system, weights and side of the tiles.
            seed: decides the initial weights of an untrained network.
            output: name of the layer.

        Raises:
            CacheError: the folder cannot be written.
        """
        named = f"{UNTRAINED}, seed {seed}" if network.weights == UNTRAINED else network.weights
        weights = weights_sha256(network.weights) or named
        space = FeatureSpace(network.system, weights, network.backbone_side_px, f"views: {output}")
        return StoredViews(FeatureStore(self.folder, space), self.tiles)
