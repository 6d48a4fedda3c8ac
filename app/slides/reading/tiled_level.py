"""A level of a slide as a grid of tiles, whatever the container of the slide is."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

JPEG_SCALES: Final = (8, 4, 2, 1)
"""Reductions at which a JPEG decodes in less time than in full (by its DCT)."""


class TiledLevel(Protocol):
    """One level of the pyramid; several threads may read at once.

    Tiles lie side by side from the upper left corner, without overlap. Those of the last column and
    row are whole as well: their pixels beyond `size` are padding.
    """

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, in pixels of the level."""

    @property
    def tile_size(self) -> tuple[int, int]:
        """Width and height of a tile, in pixels of the level."""

    @property
    def downsample(self) -> float:
        """Level-0 pixels per pixel of this level, at least 1."""

    def read_tile(self, column: int, row: int, scale: int) -> NDArray[np.uint8] | None:
        """Decode a tile.

        Args:
            column: from 0, within the level.
            row: from 0, within the level.
            scale: one of `scales_of(tile_size)`.

        Returns:
            uint8 `[height / scale, width / scale, 3]`, RGB; None where the slide has no tile, which
            is then white.

        Raises:
            CorruptSlideError: the tile is damaged.
        """


def scales_of(tile_size: tuple[int, int]) -> tuple[int, ...]:
    """The reductions at which tiles stay whole pixels, the greatest first; the last is 1."""
    return tuple(scale for scale in JPEG_SCALES if not any(side % scale for side in tile_size))


def scale_for(tile_size: tuple[int, int], factor: float) -> int:
    """The greatest reduction that is not beyond a factor, as `decode_tile` chooses it for a file.

    Args:
        tile_size: of the level.
        factor: pixels of the level per pixel of the result.
    """
    return next(scale for scale in scales_of(tile_size) if scale <= max(factor, 1.0))
