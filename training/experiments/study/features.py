"""Features of tiles by the frozen backbones of a study: computed once, then cached."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.core.tile import TileLimits, decode_tile
from training.augmentation.views import draw_views
from training.console.progress import tracked
from training.data.index import Index, IndexedTile, read_tile_file
from training.experiments.study.design import NetworkSpec, RunSpec, ViewsSpec
from training.experiments.study.head import FreshViews, Positions
from training.features.store import Features, FeatureSpace, FeatureStore, fill, row_key
from training.networks.registry import SYSTEMS

# The index has checked size and format, so this limit must not interfere.
_LIMITS: Final = TileLimits(max_bytes=2**30)
_BATCH: Final = 32
_KEPT_TILES: Final = 2048
"""Decoded tiles that stay in memory for their other views: 300 MB at 224 px."""
_ONLINE: Final = 2**32
"""First number of an online view, above the numbers of all cached views."""

Tile = NDArray[np.uint8]
Infer = Callable[[Tile], Features]
"""From uint8 `[B, side, side, 3]` to pooled features, float32 `[B, E]`."""


class FeatureSource:
    """Computes each feature once, however many runs and processes ask for it."""

    def __init__(
        self, index: Index, data_dir: Path, cache_dir: Path, weights: dict[str, str]
    ) -> None:
        """Nothing is read yet; `weights` is `imagenet`, `none` or a path by name of the system."""
        self._index = index
        self._data_dir = data_dir
        self._cache_dir = cache_dir
        self._weights = weights
        self._read_tile = lru_cache(maxsize=_KEPT_TILES)(self._decode)
        # One backbone at a time: the largest takes a gigabyte.
        self.open_backbone = lru_cache(maxsize=1)(self._open_backbone)

    def missing(self, network: NetworkSpec, sets: Iterable[ViewsSpec | None]) -> int:
        """How many features of these sets of views are not cached yet; nothing is written."""
        keys = list(dict.fromkeys(key for views in sets for key in self._keys(views)))
        folder = self._cache_dir / _space(network).folder_name
        return len(self._store(network).missing(keys)) if folder.exists() else len(keys)

    def read(self, network: NetworkSpec, views: ViewsSpec | None) -> Features:
        """Features of all tiles, float32 `[n, 1 + n_views, E]`; view 0 is the original.

        Raises:
            CacheError: the cache cannot be written.
            DataError: a tile differs from the index.
            WeightsError: the backbone's weights are missing or belong to another network.
        """
        numbers = [None, *range(_n_cached(views))]
        wanted = list(itertools.product(self._index.tiles, numbers))

        def compute(positions: Sequence[int]) -> Iterator[Features]:
            drawings = [(tile, views, number) for tile, number in (wanted[i] for i in positions)]
            return itertools.chain.from_iterable(self._infer_batches(network, drawings))

        title = SYSTEMS[network.system].title
        track = tracked(f"Features of {title}")
        rows = fill(self._store(network), self._keys(views), compute, track)
        return rows.reshape(len(self._index.tiles), len(numbers), -1)

    def fresh(self, spec: RunSpec, train: Positions) -> FreshViews | None:
        """A function that draws new views in every epoch; None if the run has no online views."""
        views = spec.views
        if views is None or views.mode != "online":
            return None
        tiles = [self._index.tiles[i] for i in train]
        per_epoch = views.per_epoch

        def draw(epoch: int) -> Features:
            # Differs from every cached view, and from the views of other runs and epochs.
            words = int.from_bytes(hashlib.sha256(repr((spec.seed, epoch)).encode()).digest()[:8])
            numbers = [_ONLINE + words + j for j in range(per_epoch)]
            drawings = [(tile, views, number) for tile in tiles for number in numbers]
            rows = np.concatenate(list(self._infer_batches(spec.network, drawings)))
            return rows.reshape(len(tiles), per_epoch, -1)

        return draw

    def _store(self, network: NetworkSpec) -> FeatureStore:
        return FeatureStore(self._cache_dir, _space(network))

    def _keys(self, views: ViewsSpec | None) -> list[bytes]:
        described = [None, *(_describe(views, number) for number in range(_n_cached(views)))]
        return [row_key(tile.sha256, view) for tile in self._index.tiles for view in described]

    def _infer_batches(
        self,
        network: NetworkSpec,
        drawings: Sequence[tuple[IndexedTile, ViewsSpec | None, int | None]],
    ) -> Iterator[Features]:
        """Decode tiles and draw views in threads, a batch ahead of the network."""
        infer = self.open_backbone(network)

        def draw(drawing: tuple[IndexedTile, ViewsSpec | None, int | None]) -> Tile:
            tile, views, number = drawing
            return draw_numbered(self._read_tile(tile, network.side_px), tile, views, number)

        batches = [drawings[i : i + _BATCH] for i in range(0, len(drawings), _BATCH)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            ahead = pool.map(draw, batches[0])
            for following in [*batches[1:], []]:
                drawn, ahead = np.stack(list(ahead)), pool.map(draw, following)
                yield infer(drawn)

    def _decode(self, tile: IndexedTile, side_px: int) -> Tile:
        return decode_tile(read_tile_file(tile, self._data_dir), _LIMITS, side_px)

    def _open_backbone(self, network: NetworkSpec) -> Infer:
        import keras

        from training.features.extract import as_function
        from training.networks.graphs import build_backbone, build_pooled

        system = SYSTEMS[network.system]
        keras.utils.set_random_seed(0)  # makes untrained weights reproducible in tests
        backbone = build_backbone(self._weights[network.system], system, network.side_px)
        infer: Any = as_function(build_pooled(backbone))
        return lambda tiles: infer(system.scaling.apply(tiles))


def draw_numbered(
    tile: Tile, described: IndexedTile, views: ViewsSpec | None, number: int | None
) -> Tile:
    """Draw the view with a certain number, which depends only on tile, settings and number.

    Args:
        tile: uint8 `[side, side, 3]`.
        described: the tile's entry; its SHA-256 is part of the seed, so that an index may grow.
        views: how views are drawn.
        number: number of the view; None is the original tile.
    """
    if views is None or number is None:
        return tile
    seed = (views.seed, number, int(described.sha256[:16], 16))
    drawn: Tile = draw_views(tile, views.augment, seed)[1]
    return drawn


def _space(network: NetworkSpec) -> FeatureSpace:
    return FeatureSpace(network.system, network.weights, network.side_px)


def _describe(views: ViewsSpec | None, number: int) -> dict[str, Any] | None:
    if views is None:
        return None
    augment = views.augment.model_dump(exclude={"n_views"})
    return {"augment": augment, "seed": views.seed, "number": number}


def _n_cached(views: ViewsSpec | None) -> int:
    return views.n_views if views is not None and views.mode == "cached" else 0
