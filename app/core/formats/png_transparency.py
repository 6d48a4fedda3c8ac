"""The transparent colour of a PNG, compared at the full depth of its samples.

Pillow compares it with pixels that it has reduced or spread to 8 bits.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_DEPTH_AT: Final = 24  # behind the signature, length and name of the header, width and height
_LOW_BYTES: Final = "RGB;16L"  # reads the second byte of each sample


def transparency_of(png: bytes, image: Image.Image, colour: tuple[int, ...]) -> Image.Image | None:
    """Where a picture has its transparent colour.

    Args:
        png: the file.
        image: its pixels, of mode 1, L, I;16 or RGB as Pillow decodes them.
        colour: `Structure.transparent_colour`.

    Returns:
        Mode L, 0 for that colour and 255 for others; None if no pixel has it.
    """
    if image.mode == "RGB" and png[_DEPTH_AT] == 16:
        matches = _matches(image, [sample >> 8 for sample in colour])
        if matches.any():  # else it takes no second pass
            matches &= _matches(_decode_low_bytes(png), [sample & 0xFF for sample in colour])
    else:
        matches = _matches(image, colour)
    return Image.fromarray(np.where(matches, np.uint8(0), np.uint8(255))) if matches.any() else None


def _matches(image: Image.Image, colour: Sequence[int]) -> NDArray[np.bool_]:
    """Bool `[H, W]`."""
    samples = np.asarray(image.convert("L") if image.mode == "1" else image)
    matches: NDArray[np.bool_] = samples == np.array(colour, samples.dtype)
    return np.logical_and.reduce(matches, axis=2) if matches.ndim == 3 else matches


def _decode_low_bytes(png: bytes) -> Image.Image:
    """The second byte of each sample of a 16-bit RGB picture, where Pillow takes the first."""
    image = Image.open(io.BytesIO(png), formats=("PNG",))
    image.tile = [tile._replace(args=_LOW_BYTES) for tile in image.tile]
    image.load()
    return image
