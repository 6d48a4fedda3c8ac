"""Colours as people see them: CIELAB, and simulated colour vision deficiencies."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Colours = NDArray[np.number[Any]]

VISIONS: Final = {
    "normal": np.eye(3),
    # Full deficiencies of Machado, Oliveira & Fernandes 2009 (IEEE TVCG 15), for linear sRGB.
    "protanopia": np.array(
        [
            (0.152286, 1.052583, -0.204868),
            (0.114503, 0.786281, 0.099216),
            (-0.003882, -0.048116, 1.051998),
        ]
    ),
    "deuteranopia": np.array(
        [
            (0.367322, 0.860646, -0.227968),
            (0.280085, 0.672501, 0.047413),
            (-0.011820, 0.042940, 0.968881),
        ]
    ),
    "tritanopia": np.array(
        [
            (1.255528, -0.076749, -0.178779),
            (-0.078411, 0.930809, 0.147602),
            (0.004733, 0.691367, 0.303900),
        ]
    ),
}
# IEC 61966-2-1, for the white of D65.
_XYZ_OF_RGB: Final = np.array(
    [(0.412456, 0.357576, 0.180438), (0.212673, 0.715152, 0.072175), (0.019334, 0.119192, 0.950304)]
)
_WHITE: Final = _XYZ_OF_RGB.sum(axis=1)


def lab(colours: Colours, vision: str = "normal") -> Colours:
    """CIELAB of sRGB colours, `[..., 3]` in [0, 255], as a kind of vision sees them."""
    values = np.asarray(colours) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    seen = (linear @ VISIONS[vision].T).clip(0, 1)
    ratio = seen @ _XYZ_OF_RGB.T / _WHITE
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def nearest_distance(colours: Colours, others: Colours, vision: str) -> Colours:
    """Distance (CIE 1976) of each colour, `[n, 3]`, from the nearest of the others, `[m, 3]`."""
    apart = lab(colours, vision)[:, None] - lab(others, vision)[None]
    nearest: Colours = np.sqrt((apart**2).sum(axis=-1)).min(axis=1)
    return nearest
