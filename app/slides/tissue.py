"""Find the tissue of a slide at a coarse scale, so that tiles of glass are never read."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.core.appearance import find_tissue
from app.slides.facts import SlideFacts
from app.slides.grid import Grid

OVERVIEW_MPP: Final = 32.0
"""Micrometres per pixel of the overview in which tissue is looked for: 32 px a tile at 10x."""
MIN_OVERVIEW_PX: Final = 1024
"""Longer side of the overview of a small slide, which is a picture in the report too."""
MAX_OVERVIEW_PX: Final = 4096
"""Longer side of the overview of a large slide, which bounds its memory to 50 MB."""


def overview_px(facts: SlideFacts) -> int:
    """The longer side of the overview to read of a slide, in pixels."""
    longer_px = max(facts.width_px, facts.height_px)
    wanted_px = round(longer_px * facts.mpp / OVERVIEW_MPP)
    return min(longer_px, MAX_OVERVIEW_PX, max(MIN_OVERVIEW_PX, wanted_px))


def tissue_shares(
    overview: NDArray[np.uint8], facts: SlideFacts, grid: Grid
) -> NDArray[np.float32]:
    """Measure the tissue of every tile.

    Tissue is what absorbs light, by the optical density that the input gate uses for tiles.

    Args:
        overview: uint8 RGB `[h, w, 3]`, the whole slide at a coarse scale.
        facts: of the slide.
        grid: the tiles.

    Returns:
        float32 `[rows, columns]`: share of the tile's area that is tissue, in [0, 1]. What lies
        outside of the slide is glass.
    """
    height_px, width_px = overview.shape[:2]
    covered = (
        grid.columns * grid.side_level0 * width_px / facts.width_px,
        grid.rows * grid.side_level0 * height_px / facts.height_px,
    )
    mask = np.zeros((math.ceil(max(covered[1], height_px)), math.ceil(max(covered[0], width_px))))
    mask[:height_px, :width_px] = find_tissue(overview)
    shares = Image.fromarray(mask.astype(np.float32)).resize(
        (grid.columns, grid.rows), Image.Resampling.BOX, box=(0, 0, *covered)
    )
    return np.asarray(shares).clip(0.0, 1.0)
