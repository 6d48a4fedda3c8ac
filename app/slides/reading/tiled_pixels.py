"""Put squares and overviews together from the tiles of a level, decoded at a reduced scale."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.slide_errors import CorruptSlideError, SlideTooLargeError
from app.slides.reading.overview import DAMAGED_COLOUR, Overview
from app.slides.reading.square import WHITE, resize_square
from app.slides.reading.tiled_level import TiledLevel, scale_for

_OVERVIEW_PIXELS: Final = 2
"""Decoded each way for a pixel of the overview, which averages them; one alone would give a jagged
picture."""

Pixels = NDArray[np.uint8]


def read_tiled_square(
    level: TiledLevel,
    location_level0: tuple[int, int],
    side_level0: float,
    side_px: int,
    max_read_pixels: int,
) -> Pixels:
    """Read a square of a level; what lies outside of the slide is white.

    Args:
        level: to read from.
        location_level0: x and y of the upper left corner, in pixels of level 0.
        side_level0: side in pixels of level 0.
        side_px: side of the result.
        max_read_pixels: that may be kept at once.

    Returns:
        uint8 `[side_px, side_px, 3]`, RGB.

    Raises:
        CorruptSlideError: a tile that the square touches cannot be decoded.
        SlideTooLargeError: the square has more pixels than `max_read_pixels`.
    """
    side = side_level0 / level.downsample
    x, y = (position / level.downsample for position in location_level0)
    scale = scale_for(level.tile_size, side / side_px)
    columns = _touched(x, side, level.tile_size[0])
    rows = _touched(y, side, level.tile_size[1])
    width, height = (length // scale for length in level.tile_size)
    n_pixels = len(columns) * len(rows) * width * height
    if n_pixels > max_read_pixels:
        raise SlideTooLargeError(n_pixels, max_read_pixels, "pixels in one read")
    canvas = np.full((len(rows) * height, len(columns) * width, 3), WHITE, np.uint8)
    for down, row in enumerate(rows):
        for across, column in enumerate(columns):
            tile = _visible(level, column, row, scale)
            if tile is not None:
                top, left = down * height, across * width
                canvas[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    corner = x / scale - columns.start * width, y / scale - rows.start * height
    return resize_square(canvas, corner, side / scale, side_px)


def read_tiled_overview(level: TiledLevel, max_px: int) -> Pixels:
    """Read a whole level, reduced; memory grows with a row of its tiles, not with the level.

    Tiles that cannot be decoded get the colour of tissue, so that a search for tissue finds them
    and reading their squares reports the damage.

    Args:
        level: to read from.
        max_px: longer side of the result, if the level is larger.

    Returns:
        uint8 `[h, w, 3]`, RGB.

    Raises:
        CorruptSlideError: no tile can be decoded.
    """
    overview = Overview(level.size, max_px)
    scale = scale_for(level.tile_size, overview.factor / _OVERVIEW_PIXELS)
    for strip in _strips(level, scale):
        overview.add(strip, scale)
    return overview.pixels()


def _strips(level: TiledLevel, scale: int) -> Iterator[Pixels]:
    """The level from top to bottom, a row of tiles at a time."""
    n_columns, n_rows = (
        math.ceil(length / side) for length, side in zip(level.size, level.tile_size, strict=True)
    )
    width, height = (length // scale for length in level.tile_size)
    n_decoded, damage = 0, None
    for row in range(n_rows):
        strip = np.full((height, n_columns * width, 3), WHITE, np.uint8)
        for column in range(n_columns):
            left = column * width
            try:
                tile = _visible(level, column, row, scale)
            except CorruptSlideError as error:
                damage = error
                strip[:, left : left + width] = DAMAGED_COLOUR
                continue
            n_decoded += 1
            if tile is not None:
                strip[: tile.shape[0], left : left + tile.shape[1]] = tile
        bottom = min(height, math.ceil((level.size[1] - row * level.tile_size[1]) / scale))
        yield strip[:bottom, : math.ceil(level.size[0] / scale)]
    if damage is not None and n_decoded == 0:
        raise damage


def _touched(at: float, side: float, tile_side: int) -> range:
    """The tiles of a stretch, also outside of the level."""
    first = math.floor(at / tile_side)
    return range(first, max(first + 1, math.ceil((at + side) / tile_side)))


def _visible(level: TiledLevel, column: int, row: int, scale: int) -> Pixels | None:
    """A tile without its padding; None outside of the level and where the slide has no tile."""
    across, down = (
        length - index * side
        for length, index, side in zip(level.size, (column, row), level.tile_size, strict=True)
    )
    if min(column, row) < 0 or min(across, down) <= 0:
        return None
    tile = level.read_tile(column, row, scale)
    if tile is None:
        return None
    # Of a reduced pixel on the edge, at most half may be padding.
    return tile[: max(1, round(down / scale)), : max(1, round(across / scale))]
