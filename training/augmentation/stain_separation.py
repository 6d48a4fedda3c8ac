"""Separate a tile into amounts of haematoxylin and eosin, and compose it from amounts again.

Optical densities of stains add up, so a matrix of their colours separates them (Ruifrok & Johnston
2001, Anal. Quant. Cytol. Histol. 23:291).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.optical_density import density_by_value, values_of_density
from training.augmentation.stain_jitter import DAB, EOSIN, HAEMATOXYLIN, Colour

OTHER_STAINS: Final = MappingProxyType(
    {
        # Pairs of colours that replace haematoxylin and eosin, from the tables of ImageJ's colour
        # deconvolution where it has the stain.
        "haematoxylin and DAB": (HAEMATOXYLIN, DAB),
        "Masson's trichrome": ((0.10, 0.60, 0.80), (0.80, 0.59, 0.11)),
        "Giemsa": ((0.83, 0.51, 0.20), (0.95, 0.25, 0.15)),
        "methyl green and DAB": ((0.98, 0.14, 0.13), DAB),
        "Alcian blue and haematoxylin": ((0.87, 0.46, 0.16), (0.55, 0.76, 0.35)),
    }
)
_OFFSET: Final = 1.0
"""As in the input gate, which is scored on tiles that are composed here."""
_DENSITY: Final = density_by_value(np.float32, offset=_OFFSET)


def separate(tile: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Amounts of haematoxylin, eosin and a remainder that neither explains.

    Args:
        tile: uint8 `[H, W, 3]` RGB.

    Returns:
        float32 `[H, W, 3]`. The remainder is measured at right angles to both colours, so `compose`
        restores the tile.
    """
    amounts = _DENSITY[tile] @ np.linalg.inv(_basis(HAEMATOXYLIN, EOSIN))
    return amounts.astype(np.float32)


def compose(
    amounts: NDArray[np.float32], first: Colour = HAEMATOXYLIN, second: Colour = EOSIN
) -> NDArray[np.uint8]:
    """A tile, uint8 `[H, W, 3]` RGB, from amounts of two stains of these colours."""
    return values_of_density(amounts @ _basis(first, second), _OFFSET)


def restain(tile: NDArray[np.uint8], stains: str) -> NDArray[np.uint8]:
    """The tile as if it had been stained with a pair from `OTHER_STAINS`."""
    amounts = separate(tile)
    amounts[..., 2] = 0.0  # the remainder means nothing to another pair of stains
    return compose(np.maximum(amounts, 0.0), *OTHER_STAINS[stains])


def scale_stains(
    tile: NDArray[np.uint8], haematoxylin: float = 1.0, eosin: float = 1.0
) -> NDArray[np.uint8]:
    """The tile with its amounts of haematoxylin and eosin multiplied by these factors."""
    return compose(separate(tile) * np.array([haematoxylin, eosin, 1.0], dtype=np.float32))


def _basis(first: Colour, second: Colour) -> NDArray[np.float64]:
    one, other = (np.array(colour) / np.linalg.norm(colour) for colour in (first, second))
    across = np.cross(one, other)
    return np.stack([one, other, across / np.linalg.norm(across)])
