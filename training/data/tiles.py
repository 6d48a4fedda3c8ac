"""Tiles as they are needed: decoded in parallel, a few ahead of the reader, never all at once.

Threads decode: Pillow gives up the lock while it decodes and resamples, so two threads keep two
cores busy, and nothing is copied between processes (`benchmarks/training.py` compares).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.core.errors import TileError
from app.core.tile import TILE_SIDE_PX, TileLimits, decode_tile
from app.runtime.cores import usable_cores
from training.data.index import Index
from training.errors import DataError

Item = TypeVar("Item")

_AHEAD: Final = 8
"""Results a worker may be ahead of the reader; at 224 px and 25 views one is 4 MB."""
# The index has checked size and format, so a limit here only has to be out of the way.
_LIMITS: Final = TileLimits(max_bytes=2**30)


class Tiles(Protocol):
    """uint8 `[side, side, 3]` by position: an array `[n, side, side, 3]`, or a stream of files."""

    def __len__(self) -> int:
        """How many."""

    def __getitem__(self, position: int, /) -> NDArray[np.uint8]:
        """One tile; may be called from several threads."""


class TileStream:
    """The tiles of an index, each decoded when it is asked for, exactly as the service does."""

    def __init__(self, index: Index, data_dir: Path, side_px: int = TILE_SIDE_PX) -> None:
        """Nothing is read yet.

        Args:
            index: which tiles.
            data_dir: the collection.
            side_px: of the decoded tiles, as the network takes them.
        """
        self._files = [data_dir / tile.file for tile in index.tiles]
        self._side_px = side_px

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, position: int, /) -> NDArray[np.uint8]:
        """Read and decode one tile.

        Raises:
            DataError: the file is missing or no longer what the index describes.
        """
        path = self._files[position]
        try:
            return decode_tile(path.read_bytes(), _LIMITS, self._side_px)
        except (OSError, TileError) as error:
            raise DataError(
                f"{path} cannot be read ({error}). Make the index again with 'osteo-train index'."
            ) from error

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return in_order(self.__getitem__, len(self))


def in_order(
    make: Callable[[int], Item], n_items: int, n_workers: int | None = None
) -> Iterator[Item]:
    """`make(0)`, `make(1)`, ... in this order, made in threads a little ahead of the reader.

    Args:
        make: called from several threads at once; its first error ends the iteration.
        n_items: how many.
        n_workers: threads; one a usable core where not given.
    """
    n_workers = n_workers or usable_cores()
    waiting: deque[Future[Item]] = deque()
    with ThreadPoolExecutor(n_workers, thread_name_prefix="tiles") as pool:
        try:
            for position in range(n_items):
                waiting.append(pool.submit(make, position))
                if len(waiting) >= n_workers * _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # whoever stops early, or fails, waits for what is being made and no more
            for future in waiting:
                future.cancel()


def some_of(tiles: Tiles, n_most: int) -> NDArray[np.uint8]:
    """At most `n_most` tiles, evenly spread, as one array uint8 `[m, side, side, 3]`."""
    n_chosen = min(len(tiles), n_most)
    positions = np.linspace(0, len(tiles) - 1, n_chosen).round().astype(int)
    return np.stack([tiles[int(position)] for position in positions])
