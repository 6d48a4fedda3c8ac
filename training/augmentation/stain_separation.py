"""Stains as numbers: take a tile apart into haematoxylin and eosin, put it together as others.

Ruifrok & Johnston 2001, Anal. Quant. Cytol. Histol. 23:291: by the law of Beer and Lambert optical
densities of stains add up, so a matrix of their colours separates them.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.augmentation.stain_jitter import DAB, EOSIN, HAEMATOXYLIN, Colour

OTHER_STAINS: Final = MappingProxyType(
    {
        # Pairs of colours in the place of haematoxylin and eosin, from the tables of ImageJ's
        # colour deconvolution where they have the stain.
        "haematoxylin and DAB": (HAEMATOXYLIN, DAB),
        "Masson's trichrome": ((0.10, 0.60, 0.80), (0.80, 0.59, 0.11)),
        "Giemsa": ((0.83, 0.51, 0.20), (0.95, 0.25, 0.15)),
        "methyl green and DAB": ((0.98, 0.14, 0.13), DAB),
        "Alcian blue and haematoxylin": ((0.87, 0.46, 0.16), (0.55, 0.76, 0.35)),
    }
)


def separate(tile: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Amounts of haematoxylin, eosin and what neither explains.

    Args:
        tile: uint8 `[H, W, 3]` RGB.

    Returns:
        float32 `[H, W, 3]`; the third lies across both colours, so that `compose` gives the tile
        back.
    """
    density = -np.log((tile.astype(np.float32) + 1.0) / 256.0)
    amounts: NDArray[np.float32] = (density @ np.linalg.inv(_basis(HAEMATOXYLIN, EOSIN))).astype(
        np.float32
    )
    return amounts


def compose(
    amounts: NDArray[np.float32], first: Colour = HAEMATOXYLIN, second: Colour = EOSIN
) -> NDArray[np.uint8]:
    """A tile, uint8 `[H, W, 3]`, of amounts of two stains of these colours."""
    light = 256.0 * np.exp(-(amounts @ _basis(first, second))) - 1.0
    tile: NDArray[np.uint8] = np.clip(np.rint(light), 0, 255).astype(np.uint8)
    return tile


def restain(tile: NDArray[np.uint8], stains: str) -> NDArray[np.uint8]:
    """The tile as if it had been stained with a pair of `OTHER_STAINS`."""
    amounts = separate(tile)
    amounts[..., 2] = 0.0  # what neither stain explains has no place in another pair
    return compose(np.maximum(amounts, 0.0), *OTHER_STAINS[stains])


def scale_stains(
    tile: NDArray[np.uint8], haematoxylin: float = 1.0, eosin: float = 1.0
) -> NDArray[np.uint8]:
    """The tile with more or less of a stain: amounts times these factors."""
    return compose(separate(tile) * np.array([haematoxylin, eosin, 1.0], dtype=np.float32))


def _basis(first: Colour, second: Colour) -> NDArray[np.float64]:
    one, other = (np.array(colour) / np.linalg.norm(colour) for colour in (first, second))
    across = np.cross(one, other)
    return np.stack([one, other, across / np.linalg.norm(across)])
