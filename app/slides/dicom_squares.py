"""Put pictures together from the frames of a DICOM level, decoded at a reduced scale."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.core.slide_errors import CorruptSlideError, SlideTooLargeError

_WHITE: Final = 255
_REDUCING_GAP: Final = 2.0
"""As in `app.core.tile`: reducing by a whole factor first takes a fifth of the time."""


class TiledLevel(Protocol):
    """A level whose tiles can be decoded one by one."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, in pixels."""

    @property
    def tile_size(self) -> tuple[int, int]:
        """Width and height of a tile, in pixels."""

    @property
    def scales(self) -> tuple[int, ...]:
        """Reductions at which a tile can be decoded, the greatest first; the last is 1."""

    def read_tile(self, column: int, row: int, scale: int) -> NDArray[np.uint8] | None:
        """Decode a tile to uint8 `[h / scale, w / scale, 3]`; None where there is none."""


def read_level_square(
    level: TiledLevel, location: tuple[float, float], side: float, side_px: int, max_pixels: int
) -> NDArray[np.uint8]:
    """Read a square of a level. What lies outside of the level is white.

    Args:
        level: to read from.
        location: x and y of the upper left corner, in pixels of the level.
        side: in pixels of the level.
        side_px: side of the result.
        max_pixels: that may be decoded.

    Returns:
        uint8 `[side_px, side_px, 3]`, RGB.

    Raises:
        CorruptSlideError: a tile cannot be decoded.
        SlideTooLargeError: the square has more than `max_pixels` on this level.
    """
    # As `decode_tile` chooses it: the smallest scale that is not smaller than the result.
    scale = _scale(level, side / side_px)
    (left, columns), (top, rows) = (
        _tiles_across(at, side, tile_side)
        for at, tile_side in zip(location, level.tile_size, strict=True)
    )
    width, height = (side // scale for side in level.tile_size)
    if columns * rows * width * height > max_pixels:
        raise SlideTooLargeError(columns * rows * width * height, max_pixels, "pixels in a read")
    canvas = np.full((rows * height, columns * width, 3), _WHITE, np.uint8)
    for row, column in np.ndindex(rows, columns):
        tile = _visible(level, left + column, top + row, scale)
        if tile is not None:
            y, x = row * height, column * width
            canvas[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    x, y = location[0] / scale - left * width, location[1] / scale - top * height
    box = (x, y, min(x + side / scale, canvas.shape[1]), min(y + side / scale, canvas.shape[0]))
    square = Image.fromarray(canvas).resize(
        (side_px, side_px), Image.Resampling.BICUBIC, box=box, reducing_gap=_REDUCING_GAP
    )
    return np.array(square)


def read_level_overview(level: TiledLevel, max_px: int) -> NDArray[np.uint8]:
    """Read a whole level, reduced. Memory grows with the result and a tile, not with the level.

    Each pixel of the result is the mean of those of the level that lie in it. Tiles that cannot be
    decoded are white.

    Args:
        level: to read from.
        max_px: longer side of the result.

    Returns:
        uint8 `[h, w, 3]`, RGB; never larger than the level.

    Raises:
        CorruptSlideError: no tile can be decoded.
    """
    factor = max(*(side / max_px for side in level.size), 1.0)
    scale = _scale(level, factor)
    width, height = (max(1, round(side / factor)) for side in level.size)
    sums = np.zeros((height, width, 3), np.float32)
    counts = np.zeros((height, width, 1), np.float32)
    error: CorruptSlideError | None = None
    n_decoded = 0
    for row, column in _all_tiles(level):
        try:
            tile = _visible(level, column, row, scale)
        except CorruptSlideError as damage:
            error = damage
            continue
        if tile is None:
            continue
        n_decoded += 1
        y, y_starts = _bins(
            row * level.tile_size[1] // scale, tile.shape[0], scale, level.size[1], height
        )
        x, x_starts = _bins(
            column * level.tile_size[0] // scale, tile.shape[1], scale, level.size[0], width
        )
        by_rows = np.add.reduceat(tile.astype(np.float32), y_starts, axis=0)
        part = np.add.reduceat(by_rows, x_starts, axis=1)
        target = slice(y, y + part.shape[0]), slice(x, x + part.shape[1])
        sums[target] += part
        n_rows = np.diff(y_starts, append=tile.shape[0])
        n_columns = np.diff(x_starts, append=tile.shape[1])
        counts[target] += np.outer(n_rows, n_columns)[..., None]
    if error is not None and n_decoded == 0:
        raise error
    sums /= np.maximum(counts, 1)
    return np.where(counts > 0, np.rint(sums), _WHITE).astype(np.uint8)


def _scale(level: TiledLevel, factor: float) -> int:
    return next(scale for scale in level.scales if scale <= max(factor, 1.0))


def _tiles_across(at: float, side: float, tile_side: int) -> tuple[int, int]:
    """First tile of a stretch, and the number of tiles; both also outside of the level."""
    first = math.floor(at / tile_side)
    return first, max(1, math.ceil((at + side) / tile_side) - first)


def _all_tiles(level: TiledLevel) -> Iterator[tuple[int, int]]:
    columns, rows = (
        math.ceil(length / side) for length, side in zip(level.size, level.tile_size, strict=True)
    )
    return np.ndindex(rows, columns)


def _visible(level: TiledLevel, column: int, row: int, scale: int) -> NDArray[np.uint8] | None:
    """A tile without what lies beyond the level; None if nothing is left."""
    across, down = (
        length - index * side
        for length, index, side in zip(level.size, (column, row), level.tile_size, strict=True)
    )
    if min(column, row) < 0 or min(across, down) <= 0:
        return None
    tile = level.read_tile(column, row, scale)
    # A reduced pixel that lies on the edge shows some padding: at most half of it is kept.
    return (
        None
        if tile is None
        else tile[: max(1, round(down / scale)), : max(1, round(across / scale))]
    )


def _bins(
    start: int, n_pixels: int, scale: int, length: int, n_bins: int
) -> tuple[int, NDArray[np.intp]]:
    """First pixel of the overview that a stretch falls into, and where each next one begins."""
    centres = (start + np.arange(n_pixels) + 0.5) * scale
    bins = np.minimum((centres * n_bins / length).astype(np.intp), n_bins - 1)
    return int(bins[0]), np.flatnonzero(np.diff(bins, prepend=-1))
