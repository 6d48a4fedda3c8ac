"""Optical density of 8-bit colours by the Beer-Lambert law, and the inverse.

Two stains multiply the light that passes, so their optical densities (the negative logarithms of
transmitted light) add up. Amounts of stain are therefore measured as optical density.

Black would have infinite density. Two conventions keep it finite, and released numbers depend on
both: the input gate's limits were fitted with `offset` 1, and the training views of released models
were drawn with `floor` 0.5, which is exact for every value but 0.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Float = TypeVar("Float", np.float32, np.float64)


def density_by_value(
    dtype: type[Float], *, offset: float = 0.0, floor: float = 0.0
) -> NDArray[Float]:
    """Optical density of each 8-bit value: `-ln((max(value, floor) + offset) / (255 + offset))`.

    Args:
        dtype: precision of the computation and the result.
        offset: added to every value.
        floor: replaces smaller values. This or `offset` must be above 0.

    Returns:
        `[256]`, from the density of black down to 0 for white; index it with a uint8 tile.
    """
    values = np.arange(256, dtype=dtype).clip(floor) + offset
    densities: NDArray[Float] = -np.log(values / (255.0 + offset))
    return densities


def values_of_density(density: NDArray[np.floating[Any]], offset: float = 0.0) -> NDArray[np.uint8]:
    """8-bit values of these optical densities, rounded and clipped to [0, 255]; the inverse."""
    light = (255.0 + offset) * np.exp(-density) - offset
    values: NDArray[np.uint8] = np.clip(np.rint(light), 0, 255).astype(np.uint8)
    return values
