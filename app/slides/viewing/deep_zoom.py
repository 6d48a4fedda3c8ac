"""The pyramid of pictures that viewers of deep zoom images ask for, tile by tile.

Level `max_level` is the slide itself, and each level below has half its width and height, down to
one pixel (Deep Zoom Image, Microsoft 2008; OpenSeadragon reads it). Tiles do not overlap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import quoteattr

from app.core.errors import counted
from app.core.slide_store_errors import ZoomTileNotFoundError

TILE_PX: Final = 256
FORMAT: Final = "jpeg"
_NAMESPACE: Final = "http://schemas.microsoft.com/deepzoom/2008"


@dataclass(frozen=True, slots=True)
class ZoomTile:
    """One tile of the pyramid.

    Attributes:
        location_level0: x and y of its upper left corner, in pixels of level 0 of the slide.
        side_level0: its side in those pixels, as if it were whole.
        size: its width and height in pixels; smaller than `TILE_PX` at the right and lower edge.
    """

    location_level0: tuple[int, int]
    side_level0: int
    size: tuple[int, int]


def max_level(width_px: int, height_px: int) -> int:
    """The level that has the slide's own pixels."""
    return math.ceil(math.log2(max(width_px, height_px, 1)))


def zoom_tile(width_px: int, height_px: int, level: int, column: int, row: int) -> ZoomTile:
    """Where a tile of the pyramid lies on the slide.

    Args:
        width_px: of level 0 of the slide.
        height_px: of level 0 of the slide.
        level: 0 to `max_level`.
        column: from 0.
        row: from 0.

    Raises:
        ZoomTileNotFoundError: the pyramid has no such tile.
    """
    top = max_level(width_px, height_px)
    if not 0 <= level <= top:
        raise ZoomTileNotFoundError(f"level {level}", f"The levels are 0 to {top}.")
    scale = 2 ** (top - level)
    width, height = math.ceil(width_px / scale), math.ceil(height_px / scale)
    columns, rows = math.ceil(width / TILE_PX), math.ceil(height / TILE_PX)
    if not (0 <= column < columns and 0 <= row < rows):
        raise ZoomTileNotFoundError(
            f"tile {column}_{row} at level {level}",
            f"It has {counted(columns, 'column')} and {counted(rows, 'row')}.",
        )
    size = min(TILE_PX, width - column * TILE_PX), min(TILE_PX, height - row * TILE_PX)
    side = TILE_PX * scale
    return ZoomTile((column * side, row * side), side, size)


def describe_pyramid(width_px: int, height_px: int) -> str:
    """The XML document that a viewer reads first."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<Image xmlns={quoteattr(_NAMESPACE)} Format="{FORMAT}" Overlap="0" TileSize="{TILE_PX}">'
        f'<Size Width="{width_px}" Height="{height_px}"/></Image>\n'
    )
