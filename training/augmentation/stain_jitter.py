"""Stain jitter: a tile's haematoxylin and eosin made a little stronger or weaker.

A view is taken apart into stains by optical density (Ruifrok & Johnston 2001, Anal. Quant. Cytol.
Histol. 23:291), each stain is scaled and shifted at random, and the view is put together again
(Tellez et al. 2019, arXiv:1902.06543, "HED-light" and "HED-strong"). Slides differ by stain more
than by anything else that says nothing about the tissue.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]
"""Optical density of a stain in red, green and blue."""

HAEMATOXYLIN: Final[Colour] = (0.65, 0.70, 0.29)
EOSIN: Final[Colour] = (0.07, 0.99, 0.11)
DAB: Final[Colour] = (0.27, 0.57, 0.78)
_RGB_FROM_HED: Final = np.array([HAEMATOXYLIN, EOSIN, DAB])
"""One stain a row (Ruifrok & Johnston 2001). The third is not in H&E; it takes up what the two
others do not explain."""
_HED_FROM_RGB: Final = np.linalg.inv(_RGB_FROM_HED)


def jitter_stain(
    view: NDArray[np.uint8], scale: float, shift: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Scale each stain by a factor in [1 - scale, 1 + scale] and shift it by [-shift, shift].

    Args:
        view: uint8 `[h, w, 3]` RGB.
        scale: 0 leaves the strength alone; Tellez et al. call 0.05 light and 0.2 strong.
        shift: in units of optical density.
        rng: draws six numbers.

    Returns:
        uint8 `[h, w, 3]` RGB.
    """
    factors = rng.uniform(1.0 - scale, 1.0 + scale, 3)
    shifts = rng.uniform(-shift, shift, 3)
    # A level of 0 would have infinite density; half a level is as dark as uint8 can mean.
    levels = np.arange(256).clip(0.5) / 255.0
    density = -np.log(levels)[view]
    # ((D H) * f + s) H⁻¹ in one product: D (H diag(f) H⁻¹) + s H⁻¹.
    turned = (_HED_FROM_RGB * factors) @ _RGB_FROM_HED
    moved = density.reshape(-1, 3) @ turned + shifts @ _RGB_FROM_HED
    rgb: NDArray[np.uint8] = (np.exp(-moved) * 255.0).round().clip(0, 255).astype(np.uint8)
    return rgb.reshape(view.shape)
