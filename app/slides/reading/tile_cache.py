"""Keep decoded tiles of a slide: neighbouring squares share those on their borders.

A square of 513 px touches nine tiles of 256 px where one on the grid touches four.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.slides.reading.tiled_level import TiledLevel

CACHE_BYTES: Final = 16 * 1024**2
"""Size of the cache of one slide. It holds the tiles that one row of squares of 1024 px touches,
on a level 70,000 px wide."""

_Key = tuple[int, int, int]


class CachedLevel:
    """A `TiledLevel` that keeps the tiles that were read last; several threads may read at once.

    Attributes:
        size, tile_size, downsample: as in `TiledLevel`.
    """

    def __init__(self, level: TiledLevel, max_bytes: int = CACHE_BYTES) -> None:
        """Begin with nothing.

        Args:
            level: to read from.
            max_bytes: of all kept pixels.
        """
        self.size, self.tile_size, self.downsample = level.size, level.tile_size, level.downsample
        self._level, self._max_bytes = level, max_bytes
        self._lock = threading.Lock()
        self._tiles: OrderedDict[_Key, NDArray[np.uint8] | None] = OrderedDict()
        self._n_bytes = 0

    def read_tile(self, column: int, row: int, scale: int) -> NDArray[np.uint8] | None:
        """Decode a tile, or take it from the cache; see `TiledLevel`. Not to be written to."""
        key = (column, row, scale)
        with self._lock:
            if key in self._tiles:
                self._tiles.move_to_end(key)
                return self._tiles[key]
        # Two threads may decode the same tile; waiting for each other would cost more.
        tile = self._level.read_tile(column, row, scale)
        with self._lock:
            if key not in self._tiles:
                self._tiles[key] = tile
                self._n_bytes += 0 if tile is None else tile.nbytes
            while self._n_bytes > self._max_bytes:
                _, oldest = self._tiles.popitem(last=False)
                self._n_bytes -= 0 if oldest is None else oldest.nbytes
        return tile
