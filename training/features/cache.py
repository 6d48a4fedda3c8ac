"""Where a run keeps the features of its tiles' views, so that the next command finds them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.augmentation.views import AugmentConfig
from training.config import NetworkConfig
from training.data.index import Index
from training.features.store import FeatureSpace, FeatureStore, row_key
from training.networks.graphs import UNTRAINED, weights_sha256


@dataclass(frozen=True, slots=True)
class KeptViews:
    """A store, and how its rows are found: a row holds all views of a tile.

    Attributes:
        store: of one network and one of its layers.
        tiles: SHA-256 of every tile's bytes, in order.
    """

    store: FeatureStore
    tiles: tuple[str, ...]

    def keys(self, augment: AugmentConfig, seed: int) -> list[bytes]:
        """One a tile. `cache_features` draws views by the tile's position, so it is part of it."""
        settings = augment.model_dump()
        return [
            row_key(tile, {"augment": settings, "seed": [seed, position]})
            for position, tile in enumerate(self.tiles)
        ]


@dataclass(frozen=True, slots=True)
class FeatureCache:
    """A folder in which the features of an index's tiles are kept."""

    folder: Path
    tiles: tuple[str, ...]

    @classmethod
    def of(cls, folder: Path, index: Index) -> FeatureCache:
        """For the tiles of an index."""
        return cls(folder, tuple(tile.sha256 for tile in index.tiles))

    def open(self, network: NetworkConfig, seed: int, output: str) -> KeptViews:
        """The store of what one layer of a network answers.

        Args:
            network: system, weights and side.
            seed: of the initial weights of an untrained network, which no file holds.
            output: name of the layer.

        Raises:
            CacheError: the folder cannot be written.
        """
        named = f"{UNTRAINED}, seed {seed}" if network.weights == UNTRAINED else network.weights
        weights = weights_sha256(network.weights) or named
        space = FeatureSpace(network.system, weights, network.input_side_px, f"views: {output}")
        return KeptViews(FeatureStore(self.folder, space), self.tiles)
