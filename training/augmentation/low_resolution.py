"""Show tiles as they look at a lower resolution, at the side of the others.

Low-resolution tiles can teach a model only what does not depend on the resolution. So every other
tile is shown through the same number of pixels too, and each label is shown equally often at each
resolution (`training.fit.sampling`): the resolution alone predicts no label.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def seen_through(tile: NDArray[np.uint8], low_resolution_px: int) -> NDArray[np.uint8]:
    """Reduce a square tile to a side (averaging, then bicubic) and enlarge it again (bicubic).

    Args:
        tile: uint8 `[side, side, 3]`.
        low_resolution_px: the side in between, in pixels.
    """
    small = Image.fromarray(tile).resize(
        (low_resolution_px, low_resolution_px), Image.Resampling.BICUBIC, reducing_gap=2.0
    )
    return enlarge(np.asarray(small), tile.shape[0])


def enlarge(tile: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """Resample a square tile, uint8 `[s, s, 3]`, to another side (bicubic)."""
    image = Image.fromarray(tile).resize((side_px, side_px), Image.Resampling.BICUBIC)
    return np.asarray(image)
