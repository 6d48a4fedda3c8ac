"""The colour scale of evidence maps, and how evidence is laid over a tile."""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image, ImageChops

# Greens, sRGB at equal distances from no evidence to the maximum. Haematoxylin and eosin have no
# green, also as people with a colour vision deficiency see it. CIELAB lightness rises evenly from
# 82 to 90: from a darker green, a map over tissue of middle lightness would first grow darker.
# Decision 58 compares the scale with others.
COLOURS: Final = np.array(
    [(0, 235, 97), (0, 242, 72), (1, 249, 15), (91, 252, 3), (130, 255, 1)], dtype=np.float64
)
_LEVELS: Final = np.linspace(0.0, 1.0, 256)
# A lookup table of 256 values in [0, 255] for each of red, green and blue.
_RAMPS: Final = [
    np.rint(np.interp(_LEVELS, np.linspace(0.0, 1.0, len(COLOURS)), channel)).astype(int).tolist()
    for channel in COLOURS.T
]
# Opacity rises faster than the evidence: in proportion to it, half of the maximum would be a grey
# between green and pink, which people with deuteranopia do not see on eosin.
_RELATIVE_OPACITY: Final = 1.0 - (1.0 - _LEVELS) ** 2


def colour_evidence(
    evidence: Image.Image, opacity: float, mask: Image.Image | None = None
) -> tuple[Image.Image, Image.Image]:
    """Turn evidence into a coloured layer.

    Args:
        evidence: mode L, 0 for none to 255 for the maximum of the map.
        opacity: opacity of the layer at the maximum, in [0, 1]; without evidence it is 0.
        mask: mode L, of the same size: 0 where the layer is transparent, 255 where it is not.

    Returns:
        The colours, mode RGB, and their opacity, mode L.
    """
    colours = Image.merge("RGB", [evidence.point(ramp) for ramp in _RAMPS])
    alpha = evidence.point(np.rint(255 * opacity * _RELATIVE_OPACITY).astype(int).tolist())
    return colours, alpha if mask is None else ImageChops.multiply(alpha, mask)


def draw_colour_bar(size: tuple[int, int], opacity: float, background: Image.Image) -> Image.Image:
    """Draw the scale as it looks on a map.

    Args:
        size: (width, height) in pixels; the highest evidence is at the top.
        opacity: as in `colour_evidence`.
        background: mode RGB, one pixel: the colour under the evidence.
    """
    evidence = Image.linear_gradient("L").transpose(Image.Transpose.FLIP_TOP_BOTTOM).resize(size)
    colours, alpha = colour_evidence(evidence, opacity)
    return Image.composite(colours, background.resize(size), alpha)
