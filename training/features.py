"""What the frozen part of the network answers, computed once for every tile and view.

The frozen part takes nearly all the time (10 to 15 ms a tile on a CPU), and its answers never
change, so training on what is cached here costs seconds where it would cost minutes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.errors import TileError
from app.core.tile import TILE_SIDE_PX, TileLimits, decode_tile
from training.augment import AugmentConfig, draw_views
from training.errors import DataError
from training.index import Index
from training.progress import tracked
from training.systems.system import MINUS_ONE_TO_ONE, Scaling

# The index has checked size and format, so a limit here only has to be out of the way.
_LIMITS = TileLimits(max_bytes=2**30)


def read_tiles(index: Index, data_dir: Path, side_px: int = TILE_SIDE_PX) -> NDArray[np.uint8]:
    """Read and decode every tile exactly as the service does.

    Args:
        index: which tiles.
        data_dir: the collection.
        side_px: of the decoded tiles, as the network takes them.

    Returns:
        uint8 `[n, side, side, 3]` in the order of the index.

    Raises:
        DataError: a file is missing or no longer what the index describes.
    """
    tiles = []
    for tile in tracked("Reading tiles")(index.tiles):
        path = data_dir / tile.file
        try:
            tiles.append(decode_tile(path.read_bytes(), _LIMITS, side_px))
        except (OSError, TileError) as error:
            raise DataError(
                f"{path} cannot be read ({error}). Make the index again with 'osteo-train index'."
            ) from error
    return np.stack(tiles)


def read_sources(index: Index, data_dir: Path, augment: AugmentConfig) -> NDArray[np.uint8] | None:
    """The tiles at the resolution that crops are taken from; None where no view is a crop.

    Raises:
        DataError: as `read_tiles`.
    """
    return read_tiles(index, data_dir, augment.crop_source_px) if augment.crops else None


def cache_features(
    lower: Any,
    tiles: NDArray[np.uint8],
    augment: AugmentConfig,
    seed: int,
    scaling: Scaling = MINUS_ONE_TO_ONE,
    sources: NDArray[np.uint8] | None = None,
) -> NDArray[np.float32]:
    """Run the frozen part on every tile's original and transformed views.

    Args:
        lower: the frozen graph; scaled float32 `[B, side, side, 3]` to features.
        tiles: uint8 `[n, side, side, 3]`.
        augment: which views to draw.
        seed: of the views.
        scaling: what the network wants of its input.
        sources: uint8 `[n, larger, larger, 3]`, which crops are taken from.

    Returns:
        float32 `[n, 1 + n_views, ...]`; view 0 is the original tile.
    """
    infer = as_function(lower)
    numbered: Iterable[tuple[int, NDArray[np.uint8]]] = tracked("Computing features")(
        list(enumerate(tiles))
    )
    return np.stack(
        [
            infer(scaling.apply(draw_views(tile, augment, (seed, i), _source_of(sources, i))))
            for i, tile in numbered
        ]
    )


def draw_all(
    tiles: NDArray[np.uint8],
    augment: AugmentConfig,
    seed: int,
    sources: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """The views that `cache_features` shows to a frozen base: uint8 `[n, 1 + n_views, ...]`."""
    return np.stack(
        [
            draw_views(tile, augment, (seed, i), _source_of(sources, i))
            for i, tile in enumerate(tiles)
        ]
    )


def _source_of(sources: NDArray[np.uint8] | None, i: int) -> NDArray[np.uint8] | None:
    return None if sources is None else sources[i]


def as_function(graph: Any) -> Any:
    """A Keras graph as a fast function of NumPy arrays, in inference mode."""
    import tensorflow  # noqa: PLC0415 - seconds to import

    compiled = tensorflow.function(
        lambda inputs: graph(inputs, training=False), reduce_retracing=True
    )
    return lambda inputs: compiled(tensorflow.constant(inputs)).numpy()
