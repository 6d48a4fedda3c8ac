"""Reduce a square of pixels to the side that the model sees, as `app.core.tile` does."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WHITE: Final = 255
_REDUCING_GAP: Final = 2.0
"""As in `app.core.tile`."""


def resize_square(
    pixels: NDArray[np.uint8], corner: tuple[float, float], side: float, side_px: int
) -> NDArray[np.uint8]:
    """Cut a square out and resample it.

    Args:
        pixels: uint8 `[h, w, 3]`.
        corner: x and y of the upper left corner, in pixels; need not be whole.
        side: in pixels.
        side_px: side of the result.

    Returns:
        uint8 `[side_px, side_px, 3]`.
    """
    height, width = pixels.shape[:2]
    left, top = (max(0.0, position) for position in corner)
    # The sums of fractions may pass the edge by a rounding error, which Pillow refuses.
    box = (left, top, min(left + side, width), min(top + side, height))
    image = Image.frombuffer("RGB", (width, height), pixels, "raw", "RGB", 0, 1)
    square = image.resize(
        (side_px, side_px), Image.Resampling.BICUBIC, box=box, reducing_gap=_REDUCING_GAP
    )
    return np.array(square)
