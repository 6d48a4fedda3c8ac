"""Small whole slides of drawn tissue whose truth is known. No licence, no patient.

A slide is a mosaic of cells, each of which is one training tile (1024 um); a cell without a label
is glass. Files are written tile by tile, so memory does not grow with the slide.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from tests.slides.mosaic import (
    CELL_UM,
    FALSE_IDS,
    FALSE_NAME,
    GLASS,
    NON_TUMOR,
    NON_VIABLE,
    VIABLE,
    Drawing,
    DrawnSlide,
    Tiles,
)
from tests.slides.slide_files import write_slide
from training.data.drawn_tiles import draw_tile

__all__ = [
    "CELL_UM",
    "FALSE_IDS",
    "FALSE_NAME",
    "GLASS",
    "NON_TUMOR",
    "NON_VIABLE",
    "VIABLE",
    "Drawing",
    "DrawnSlide",
    "Tiles",
    "draw_slide",
    "drawn_tiles",
]

_DRAWN_PX: Final = 512


def draw_slide(
    path: Path, drawing: Drawing | None = None, tiles: Tiles | None = None
) -> DrawnSlide:
    """Draw a slide into a file.

    Args:
        path: the file; its ending is up to the caller.
        drawing: what to draw; 5 x 4 cells at 10x if None.
        tiles: for each label a tile of 1024 px; drawn ones if None.
    """
    drawing = drawing or Drawing()
    labels = drawing.labels or _labels_by_lot(drawing)
    slide = DrawnSlide(path, drawing, labels, tiles or drawn_tiles())
    write_slide(slide)
    return slide


@functools.cache
def drawn_tiles() -> Tiles:
    """For each label one drawn tile of 1024 px."""
    return {
        label: np.asarray(
            Image.fromarray(draw_tile(label, _DRAWN_PX, seed=7)).resize(
                (CELL_UM, CELL_UM), Image.Resampling.BICUBIC
            )
        )
        for label in (NON_TUMOR, NON_VIABLE, VIABLE)
    }


def _labels_by_lot(drawing: Drawing) -> tuple[tuple[str, ...], ...]:
    n_cells = drawing.columns * drawing.rows
    n_tissue = max(1, round(drawing.tissue * n_cells))
    n_non_tumor = round(drawing.non_tumor * n_tissue)
    n_dead = round(drawing.necrosis * (n_tissue - n_non_tumor))
    labels = [GLASS] * n_cells
    chosen = np.random.default_rng(drawing.seed).permutation(n_cells)[:n_tissue]
    for position, cell in enumerate(chosen):
        is_dead = position < n_non_tumor + n_dead
        labels[cell] = NON_TUMOR if position < n_non_tumor else NON_VIABLE if is_dead else VIABLE
    at = range(0, n_cells, drawing.columns)
    return tuple(tuple(labels[first : first + drawing.columns]) for first in at)
