"""What the frozen part of the network answers, computed once for every tile and view.

The frozen part takes nearly all the time (10 to 15 ms a tile on a CPU), and its answers never
change, so training on what is cached here costs seconds where it would cost minutes.
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
from training.distributed import gather_rows, share
from training.features.cache import KeptViews
from training.features.store import fill
from training.networks.architecture import MINUS_ONE_TO_ONE, Scaling
from training.storage.scratch_array import allocate

_GATHERED_VIEWS: Final = 32
"""About what the processes tell each other at once; tiles with more views go one at a time."""


def read_tiles(index: Index, data_dir: Path, side_px: int = TILE_SIDE_PX) -> NDArray[np.uint8]:
    """Every tile at once, for callers who need them all; others take a `TileStream`.

    Returns:
        uint8 `[n, side, side, 3]` in the order of the index: 150 kB a tile at 224 px.

    Raises:
        DataError: a file is missing or no longer what the index describes.
    """
    tiles = TileStream(index, data_dir, side_px)
    shown = tracked("Reading tiles")(range(len(tiles)))
    return np.stack([tile for tile, _ in zip(tiles, shown, strict=True)])


def open_sources(index: Index, data_dir: Path, augment: AugmentConfig) -> TileStream | None:
    """The tiles at the resolution that crops are taken from; None where no view is a crop."""
    return TileStream(index, data_dir, augment.crop_source_px) if augment.crops else None


def cache_features(
    lower: Any,
    tiles: Tiles,
    augment: AugmentConfig,
    seed: int,
    scaling: Scaling = MINUS_ONE_TO_ONE,
    sources: Tiles | None = None,
    kept: KeptViews | None = None,
) -> NDArray[np.float32]:
    """Run the frozen part on every tile's original and transformed views, tile after tile.

    Threads decode and draw while the network answers; what waits between them is bounded, and the
    features lie on disk where they are many (`allocate`), so memory does not grow with the tiles.

    Args:
        lower: the frozen graph; scaled float32 `[B, side, side, 3]` to features.
        tiles: `n` tiles of the side that the graph takes.
        augment: which views to draw.
        seed: of the views.
        scaling: what the network wants of its input.
        sources: the same tiles, larger, which crops are taken from.
        kept: where features are kept for the next command; computed anew where not given.

    Returns:
        float32 `[n, 1 + n_views, ...]`; view 0 is the original tile.

    Raises:
        DataError: a tile cannot be read.
        CacheError: the disk has no room.
    """
    infer = as_function(lower)
    shape = (1 + augment.n_views, *lower.output_shape[1:])
    rank, n_processes = share()
    mine = range(rank, len(tiles), n_processes)

    def answers(positions: Sequence[int]) -> Iterator[NDArray[np.float32]]:
        """Rows of some of my tiles, each by itself: what else is computed changes no bit of it.

        In a batch of other tiles a row's last bits differ with the size of the batch and the
        row's place in it; and on a CPU a batch of 32 takes as long a view as a batch of 1.
        """

        def scaled_views(number: int) -> NDArray[np.float32]:
            return scaling.apply(_views_of(tiles, mine[positions[number]], augment, seed, sources))

        yield from map(infer, in_order(scaled_views, len(positions)))

    if kept is not None and len(mine) > 0:
        keys = kept.keys(augment, seed)[rank::n_processes]
        found = fill(
            kept.store,
            keys,
            lambda positions: np.stack(list(answers(positions))),
            tracked("Computing features"),
        )
    else:
        found = allocate((len(mine), *shape), np.float32)
        shown = tracked("Computing features")(range(len(mine)))
        for i, row in zip(shown, answers(range(len(mine))), strict=True):
            found[i] = row
    return found if n_processes == 1 else _gather_dealt(found, len(tiles), n_processes)


def _gather_dealt(mine: NDArray[np.float32], n_tiles: int, n_processes: int) -> NDArray[np.float32]:
    """All rows, of which each process has every `n_processes`th, beginning at its number."""
    features = allocate((n_tiles, *mine.shape[1:]), np.float32)
    n_together = max(1, _GATHERED_VIEWS // mine.shape[1])
    for start in range(0, n_tiles, n_processes * n_together):
        end = min(start + n_processes * n_together, n_tiles)
        first = start // n_processes
        rows = gather_rows(mine[first : first + n_together])
        order = np.argsort(np.arange(start, end) % n_processes, kind="stable")
        features[start + order] = rows
    return features


def draw_all(
    tiles: Tiles, augment: AugmentConfig, seed: int, sources: Tiles | None = None
) -> NDArray[np.uint8]:
    """The views that `cache_features` shows to a frozen base: uint8 `[n, 1 + n_views, ...]`."""
    first = _views_of(tiles, 0, augment, seed, sources)
    drawn: NDArray[np.uint8] = allocate((len(tiles), *first.shape), np.uint8)
    views = in_order(lambda i: _views_of(tiles, i, augment, seed, sources), len(tiles))
    for i, of_tile in enumerate(views):
        drawn[i] = of_tile
    return drawn


def pool_features(upper: Any, seam: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pooled features, float32 `[n, 1 + n_views, E]`, from what the frozen part answered."""
    infer = as_function(upper)
    pooled = allocate((*seam.shape[:2], upper.output_shape[-1]), np.float32)
    for i in tracked("Pooling")(range(len(seam))):
        pooled[i] = infer(seam[i]).mean(axis=(1, 2))
    return pooled


def _views_of(
    tiles: Tiles, i: int, augment: AugmentConfig, seed: int, sources: Tiles | None
) -> NDArray[np.uint8]:
    return draw_views(tiles[i], augment, (seed, i), None if sources is None else sources[i])


def as_function(graph: Any) -> Any:
    """A Keras graph as a fast function of NumPy arrays, in inference mode."""
    import tensorflow

    compiled = tensorflow.function(
        lambda inputs: graph(inputs, training=False), reduce_retracing=True
    )
    return lambda inputs: compiled(tensorflow.constant(inputs)).numpy()
