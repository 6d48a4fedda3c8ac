"""Features of the frozen backbone, computed once for every tile and view.

The frozen backbone takes nearly all the time (10 to 15 ms a tile on a CPU) and its features never
change, so training on cached features takes seconds instead of minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.core.tile import TILE_SIDE_PX
from training.augmentation.views import AugmentConfig, draw_views
from training.console.progress import tracked
from training.data.index import Index
from training.data.tiles import Tiles, TileStream, in_order
from training.distributed import gather_rows, rank_and_size
from training.features.cache import StoredViews
from training.features.store import fill
from training.networks.architecture import MINUS_ONE_TO_ONE, Scaling
from training.storage.scratch_array import allocate

_GATHERED_VIEWS: Final = 32
"""The processes exchange about this many views at once; a tile with more views goes alone."""


def read_tiles(index: Index, data_dir: Path, side_px: int = TILE_SIDE_PX) -> NDArray[np.uint8]:
    """Every tile at once, for callers that need them all; others use a `TileStream`.

    Returns:
        uint8 `[n, side, side, 3]` RGB in the order of the index: 150 kB a tile at 224 px.

    Raises:
        DataError: a file is missing or no longer what the index describes.
    """
    tiles = TileStream(index, data_dir, side_px)
    positions = tracked("Reading tiles")(range(len(tiles)))
    return np.stack([tile for tile, _ in zip(tiles, positions, strict=True)])


def cache_features(
    frozen: Any,
    tiles: Tiles,
    augment: AugmentConfig,
    seed: int,
    scaling: Scaling = MINUS_ONE_TO_ONE,
    stored: StoredViews | None = None,
) -> NDArray[np.float32]:
    """Run the frozen graph on the original and the transformed views of every tile.

    Threads decode tiles and draw views while the network runs. They stay only a few tiles ahead,
    and a large result is on disk (`allocate`), so memory does not grow with the number of tiles.

    Args:
        frozen: the frozen graph; scaled float32 `[B, side, side, 3]` to features.
        tiles: `n` tiles with the side of the graph's input.
        augment: which views to draw.
        seed: decides the views.
        scaling: scaling of the network's input.
        stored: read the features from this store, and add those that it lacks; None computes all.

    Returns:
        float32 `[n, n_shown, ...]`; view 0 is the original tile.

    Raises:
        DataError: a tile cannot be read.
        CacheError: the disk is full.
    """
    infer = as_function(frozen)
    shape = (augment.n_shown, *frozen.output_shape[1:])
    rank, n_processes = rank_and_size()
    mine = range(rank, len(tiles), n_processes)

    def compute(positions: Sequence[int]) -> Iterator[NDArray[np.float32]]:
        """Features of some of this process's tiles, one batch a tile.

        In a batch with other tiles, the last bits of a row change with the size of the batch and
        the row's place in it. On a CPU, a view takes as long in a batch of 32 as in a batch of 1.
        """

        def scaled_views(number: int) -> NDArray[np.float32]:
            i = mine[positions[number]]
            return scaling.apply(draw_views(tiles[i], augment, (seed, i)))

        yield from map(infer, in_order(scaled_views, len(positions)))

    if stored is not None and len(mine) > 0:
        keys = stored.keys(augment, seed)[rank::n_processes]
        features = fill(
            stored.store,
            keys,
            compute,
            tracked("Computing features"),
        )
    else:
        features = allocate((len(mine), *shape), np.float32)
        rows = tracked("Computing features")(range(len(mine)))
        for i, row in zip(rows, compute(range(len(mine))), strict=True):
            features[i] = row
    return features if n_processes == 1 else _gather_dealt(features, len(tiles), n_processes)


def _gather_dealt(mine: NDArray[np.float32], n_tiles: int, n_processes: int) -> NDArray[np.float32]:
    """All rows; each process has every `n_processes`th one, starting at its rank."""
    features = allocate((n_tiles, *mine.shape[1:]), np.float32)
    n_together = max(1, _GATHERED_VIEWS // mine.shape[1])
    for start in range(0, n_tiles, n_processes * n_together):
        end = min(start + n_processes * n_together, n_tiles)
        first = start // n_processes
        rows = gather_rows(mine[first : first + n_together])
        order = np.argsort(np.arange(start, end) % n_processes, kind="stable")
        features[start + order] = rows
    return features


def draw_all(tiles: Tiles, augment: AugmentConfig, seed: int) -> NDArray[np.uint8]:
    """The views that `cache_features` runs through the network.

    Returns:
        uint8 `[n, n_shown, side, side, 3]` RGB; view 0 is the original tile.
    """
    drawn: NDArray[np.uint8] = allocate((len(tiles), augment.n_shown, *tiles[0].shape), np.uint8)
    views_of_tiles = in_order(lambda i: draw_views(tiles[i], augment, (seed, i)), len(tiles))
    numbers = tracked("Drawing views")(range(len(tiles)))
    for i, views in zip(numbers, views_of_tiles, strict=True):
        drawn[i] = views
    return drawn


def pool_features(trainable: Any, seam: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run the layers above the seam and average over the feature map.

    Args:
        trainable: graph from the seam to the feature map `[B, h, w, E]`.
        seam: float32 `[n, n_views, ...]`, what the frozen graph returned.

    Returns:
        Pooled features, float32 `[n, n_views, E]`.
    """
    infer = as_function(trainable)
    pooled = allocate((*seam.shape[:2], trainable.output_shape[-1]), np.float32)
    for i in tracked("Pooling")(range(len(seam))):
        pooled[i] = infer(seam[i]).mean(axis=(1, 2))
    return pooled


def as_function(graph: Any) -> Any:
    """A Keras graph as a compiled function of NumPy arrays, in inference mode."""
    import tensorflow

    compiled = tensorflow.function(
        lambda inputs: graph(inputs, training=False), autograph=False, reduce_retracing=True
    )
    return lambda inputs: compiled(tensorflow.constant(inputs)).numpy()
