"""Decode tiles when they are needed: in threads, a few ahead of the reader, never all at once.

Pillow releases the GIL while it decodes and resamples, so two threads keep two cores busy, and
nothing is copied between processes (`benchmarks/training.py` compares both).
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
"""Results that each worker may be ahead of the reader; one is 4 MB at 224 px and 25 views."""
# The index has checked size and format, so the limit must only be high enough.
_LIMITS: Final = TileLimits(max_bytes=2**30)


class Tiles(Protocol):
    """uint8 `[side, side, 3]` RGB by position: an array `[n, ...]` or a stream of files."""

    def __len__(self) -> int:
        """Number of tiles."""

    def __getitem__(self, position: int, /) -> NDArray[np.uint8]:
        """One tile; several threads may call this."""


class TileStream:
    """The tiles of an index, each decoded on access, exactly as the service decodes it."""

    def __init__(self, index: Index, data_dir: Path, side_px: int = TILE_SIDE_PX) -> None:
        """Read nothing yet.

        Args:
            index: lists the tiles.
            data_dir: the collection.
            side_px: side of the network's input.
        """
        self._files = [data_dir / tile.file for tile in index.tiles]
        self._side_px = side_px

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, position: int, /) -> NDArray[np.uint8]:
        """Read and decode one tile.

        Raises:
            DataError: the file is missing or cannot be decoded.
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
    """Yield `make(0)`, `make(1)`, ... in order, made in threads slightly ahead of the reader.

    Args:
        make: called from several threads at once; its first error ends the iteration.
        n_items: number of items.
        n_workers: number of threads; by default one per usable core.
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
        finally:  # a reader that stops early waits only for items that are being made
            for future in waiting:
                future.cancel()


def some_of(tiles: Tiles, n_most: int) -> NDArray[np.uint8]:
    """At most `n_most` evenly spaced tiles as one array, uint8 `[m, side, side, 3]` RGB."""
    return np.stack([tiles[position] for position in evenly_spaced(len(tiles), n_most)])


def evenly_spaced(n_items: int, n_most: int) -> list[int]:
    """At most `n_most` evenly spaced positions of `n_items`, ascending."""
    positions = np.linspace(0, n_items - 1, min(n_items, n_most)).round().astype(int)
    return [int(position) for position in positions]
