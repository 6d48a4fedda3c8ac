"""A level of a slide as a grid of encoded tiles, whatever the container of the slide is."""

from __future__ import annotations

from typing import Protocol


class EncodedLevel(Protocol):
    """One level of the pyramid; several threads may read at once.

    Tiles lie side by side from the upper left corner of the level, without overlap. Those of the
    last column and row are whole as well: their pixels beyond `size` are padding.
    """

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the level, in its pixels."""

    @property
    def tile_size(self) -> tuple[int, int]:
        """Width and height of a tile, in pixels of the level."""

    @property
    def downsample(self) -> float:
        """Level-0 pixels per pixel of this level, at least 1."""

    def encoded_tile(self, column: int, row: int) -> bytes | None:
        """A tile as a whole JPEG file whose colours decode to RGB by its own markers.

        Args:
            column: from 0, left to right, within the level.
            row: from 0, top to bottom, within the level.

        Returns:
            The file; its size has not been checked against `tile_size`. None if the slide has no
            tile here, which is then white.

        Raises:
            CorruptSlideError: the bytes cannot be read from the slide.
        """
