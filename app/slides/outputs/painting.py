"""The class of each tile as pixels: by colour and opacity, hatched where a tile is left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.slides.outputs.colours import (
    EXCLUDED,
    UNREADABLE,
    label_colours,
    opacity_of,
)
from app.slides.outputs.subject import OutputSubject

_NOTHING, _CLASS, _LEFT_OUT, _DAMAGED = range(4)
_HATCH_OPACITY: Final = (0.35, 0.9)
"""Between the lines of a hatching, and on them."""


@dataclass(frozen=True, slots=True)
class TilePaint:
    """What to paint in each cell of the grid.

    Attributes:
        colours: uint8 `[rows, columns, 4]`, RGBA.
        kinds: uint8 `[rows, columns]`: nothing, a class, left out, damaged.
    """

    colours: NDArray[np.uint8]
    kinds: NDArray[np.uint8]

    def at(
        self, columns: NDArray[np.intp], rows: NDArray[np.intp], line_px: int
    ) -> NDArray[np.uint8]:
        """Paint a picture.

        Args:
            columns: the column of the grid below each column of pixels, `[w]`; outside of the grid
                nothing is painted.
            rows: the same for the rows of pixels, `[h]`.
            line_px: distance of the lines of hatchings, in pixels.

        Returns:
            uint8 `[h, w, 4]`, RGBA.
        """
        n_rows, n_columns = self.kinds.shape
        # Outside of the grid is a further row and column without paint.
        colours = np.pad(self.colours, ((0, 1), (0, 1), (0, 0)))
        kinds = np.pad(self.kinds, ((0, 1), (0, 1)))
        at_rows, at_columns = np.minimum(rows, n_rows), np.minimum(columns, n_columns)
        picture = colours.take(at_rows, axis=0).take(at_columns, axis=1)
        kind = kinds.take(at_rows, axis=0).take(at_columns, axis=1)
        y, x = np.ogrid[: len(rows), : len(columns)]
        rising = (x + y) % line_px < max(1, line_px // 4)
        falling = (x - y) % line_px < max(1, line_px // 4)
        off, on = (round(255 * opacity) for opacity in _HATCH_OPACITY)
        alpha = picture[..., 3]
        alpha[kind == _LEFT_OUT] = off
        alpha[kind == _DAMAGED] = off
        alpha[(kind == _LEFT_OUT) & rising] = on
        alpha[(kind == _DAMAGED) & (rising | falling)] = on
        return picture


def paint_tiles(subject: OutputSubject) -> TilePaint:
    """Choose the paint of each tile; a class is the more opaque, the more probable it is."""
    labels = subject.manifest.labels
    palette = label_colours(labels)
    shape = subject.grid.rows, subject.grid.columns
    colours = np.zeros((*shape, 4), np.uint8)
    kinds = np.full(shape, _NOTHING, np.uint8)
    for row in subject.rows:
        at = row.row, row.column
        if row.class_index is None:
            colours[at], kinds[at] = (*UNREADABLE, 255), _DAMAGED
        elif row.excluded_by is not None:
            colours[at], kinds[at] = (*EXCLUDED, 255), _LEFT_OUT
        else:
            opacity = opacity_of(row.probabilities[row.class_index], len(labels))
            colours[at] = (*palette[row.class_index], round(255 * opacity))
            kinds[at] = _CLASS
    return TilePaint(colours, kinds)
