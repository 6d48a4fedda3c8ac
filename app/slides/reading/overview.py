"""Reduce a slide to an overview, strip by strip, so that memory does not grow with the slide."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.slides.reading.square import WHITE

DAMAGED_COLOUR: Final = (200, 130, 175)
"""Pink and violet, as tissue stained with haematoxylin and eosin on the whole."""


class Overview:
    """Takes the strips of a level from top to bottom, and averages them.

    Attributes:
        factor: pixels of the level per pixel of the overview, at least 1.
    """

    def __init__(self, size: tuple[int, int], max_px: int) -> None:
        """Begin at the top.

        Args:
            size: width and height of the level.
            max_px: longer side of the overview, if the level is larger.
        """
        self.factor = max(max(size) / max_px, 1.0)
        width, height = (max(1, round(length / self.factor)) for length in size)
        self._level_size = size
        self._pixels = np.full((height, width, 3), WHITE, np.uint8)
        self._n_rows = 0
        self._sum = np.zeros((width, 3), np.float32)
        self._n_summed = 0
        self._row = 0

    def add(self, strip: NDArray[np.uint8], scale: int = 1) -> None:
        """Take the next strip.

        Args:
            strip: uint8 `[h, w, 3]`, of which `w` is the width of the level divided by `scale` and
                rounded up.
            scale: by which the strip is reduced against the level; at most `factor`.
        """
        height, width = self._pixels.shape[:2]
        level_width, level_height = (length / scale for length in self._level_size)
        image = Image.fromarray(strip)
        box = (0, 0, min(level_width, image.width), image.height)
        narrow = image.resize((width, image.height), Image.Resampling.BOX, box=box)
        centres = self._n_rows + np.arange(image.height) + 0.5
        rows = np.minimum((centres * height / level_height).astype(np.intp), height - 1)
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        sums = np.add.reduceat(np.asarray(narrow, np.float32), starts, axis=0)
        n_summed = np.diff(starts, append=image.height)
        for row, total, n in zip(rows[starts], sums, n_summed, strict=True):
            if row != self._row:
                self._finish_row()
                self._row = int(row)
            self._sum += total
            self._n_summed += int(n)
        self._n_rows += image.height

    def pixels(self) -> NDArray[np.uint8]:
        """The overview, uint8 `[h, w, 3]`; rows for which no strip came are white."""
        self._finish_row()
        return self._pixels

    def _finish_row(self) -> None:
        if self._n_summed:
            self._pixels[self._row] = np.rint(self._sum / self._n_summed)
        self._sum[:] = 0
        self._n_summed = 0
