"""Find tiles that show the same tissue: tiles of one slide whose footprints overlap.

A name gives a tile's corner on the slide in pixels, but the scale is not documented. So the side of
the footprint is a parameter: 1024 if names count the pixels of the 10x tiles, 2048 or 4096 if they
count the pixels of a 20x or 40x scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.data.index import IndexedTile
from training.data.tile_names import TileName
from training.data.tile_source import TilePlace

PlacedTile = IndexedTile | TileName | TilePlace

FOOTPRINTS_PX: Final = (1024, 2048, 4096)
"""The candidates; overlaps are reported for each."""


def overlapping_pairs(tiles: Sequence[PlacedTile], footprint_px: int) -> NDArray[np.int64]:
    """Pairs of overlapping tiles, int64 `[m, 2]`: positions in `tiles`, the lower one first.

    Tiles whose slide or corner is unknown are not looked at.

    Args:
        tiles: in any order.
        footprint_px: side of a tile in the pixels of its name; touching edges do not overlap.
    """
    by_slide: dict[str, list[int]] = {}
    for position, tile in enumerate(tiles):
        if tile.slide is not None and tile.x is not None and tile.y is not None:
            by_slide.setdefault(tile.slide, []).append(position)
    found = [
        _pairs_of_slide(np.array(positions), tiles, footprint_px)
        for positions in by_slide.values()
        if len(positions) > 1
    ]
    pairs: NDArray[np.int64] = np.concatenate([np.empty((0, 2), np.int64), *found])
    return pairs[np.lexsort(pairs.T[::-1])]


def overlap_groups(tiles: Sequence[IndexedTile], footprint_px: int) -> NDArray[np.int64]:
    """Group number of each tile, int64 `[n]`, from 0: a chain of overlaps is one group.

    No two groups share tissue, so a split that keeps groups whole does not leak tissue.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = overlapping_pairs(tiles, footprint_px)
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(tiles), len(tiles)))
    groups: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return groups


def _pairs_of_slide(
    positions: NDArray[np.int64],
    tiles: Sequence[PlacedTile],
    footprint_px: int,
) -> NDArray[np.int64]:
    """After sorting by x, a tile can only overlap the tiles within the next footprint."""
    corners = np.array([(tiles[i].x, tiles[i].y) for i in positions])
    order = np.argsort(corners[:, 0], kind="stable")
    x, y = corners[order].T
    ends = np.searchsorted(x, x + footprint_px, side="left")
    pairs = []
    for one, end in enumerate(ends):
        near = np.flatnonzero(np.abs(y[one + 1 : end] - y[one]) < footprint_px) + one + 1
        pairs += [sorted((positions[order[one]], positions[order[other]])) for other in near]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)
