"""Stain jitter: random changes of the strength of a tile's haematoxylin and eosin.

A view is separated into stains by optical density (Ruifrok & Johnston 2001, Anal. Quant. Cytol.
Histol. 23:291), each stain is scaled and shifted at random, and the stains are composed again
(Tellez et al. 2019, arXiv:1902.06543, "HED-light" and "HED-strong"). Among the differences between
slides that say nothing about the tissue, the stain is the largest.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.optical_density import density_by_value, values_of_density

Colour = tuple[float, float, float]
"""Optical density of a stain in red, green and blue."""

HAEMATOXYLIN: Final[Colour] = (0.65, 0.70, 0.29)
EOSIN: Final[Colour] = (0.07, 0.99, 0.11)
DAB: Final[Colour] = (0.27, 0.57, 0.78)
_RGB_FROM_HED: Final = np.array([HAEMATOXYLIN, EOSIN, DAB])
"""One stain per row (Ruifrok & Johnston 2001). H&E has no third stain; DAB takes up what the other
two do not explain."""
_HED_FROM_RGB: Final = np.linalg.inv(_RGB_FROM_HED)
_DENSITY: Final = density_by_value(np.float64, floor=0.5)
"""Half a grey level is as dark as uint8 can express."""


def jitter_stain(
    view: NDArray[np.uint8], scale: float, shift: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Scale each stain by a factor in [1 - scale, 1 + scale] and shift it by [-shift, shift].

    Args:
        view: uint8 `[h, w, 3]` RGB.
        scale: 0 leaves the strength unchanged; Tellez et al. call 0.05 light and 0.2 strong.
        shift: in units of optical density.
        rng: six numbers are drawn from it.

    Returns:
        uint8 `[h, w, 3]` RGB.
    """
    factors = rng.uniform(1.0 - scale, 1.0 + scale, 3)
    shifts = rng.uniform(-shift, shift, 3)
    # ((D H) * f + s) H⁻¹ in one product: D (H diag(f) H⁻¹) + s H⁻¹.
    jitter = (_HED_FROM_RGB * factors) @ _RGB_FROM_HED
    density = _DENSITY[view].reshape(-1, 3) @ jitter + shifts @ _RGB_FROM_HED
    return values_of_density(density).reshape(view.shape)
