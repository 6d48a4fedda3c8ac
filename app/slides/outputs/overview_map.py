"""The class of each tile over the slide, for the report."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.slides.outputs.painting import TilePaint, paint_tiles
from app.slides.outputs.pictures import paled
from app.slides.outputs.subject import OutputSubject

_OPACITY: Final = 0.8
"""Opacity of the layer, which leaves the outline of the tissue visible."""
_LINE_PX: Final = 12


def draw_class_map(overview: Image.Image, subject: OutputSubject) -> Image.Image:
    """Draw the classes over a pale grey picture of the slide.

    Args:
        overview: mode RGB, the whole of level 0.
        subject: what is drawn.

    Returns:
        Mode RGB, of the same size.
    """
    layer = _layer(paint_tiles(subject), overview.size, subject)
    layer[..., 3] = (layer[..., 3] * _OPACITY).astype(np.uint8)
    return Image.alpha_composite(paled(overview).convert("RGBA"), Image.fromarray(layer)).convert(
        "RGB"
    )


def grid_cells(
    size: tuple[int, int], subject: OutputSubject
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The column and row of the grid below each column and row of an overview's pixels.

    Args:
        size: width and height of the overview, which shows the whole of level 0.
        subject: has the slide's size and the grid.
    """
    slide, side = subject.summary.slide, subject.grid.side_level0
    columns, rows = (
        ((np.arange(n) + 0.5) * (length / n / side)).astype(np.intp)
        for n, length in zip(size, (slide.width_px, slide.height_px), strict=True)
    )
    return columns, rows


def _layer(paint: TilePaint, size: tuple[int, int], subject: OutputSubject) -> NDArray[np.uint8]:
    return paint.at(*grid_cells(size, subject), _LINE_PX)
