"""Decode JPEG at a reduced scale, and see what the decoder warns of.

libjpeg decodes a damaged file as well as it can and says so in warnings, which Pillow drops.
simplejpeg turns them into exceptions; its pixels are those of Pillow, bit for bit (decision 53).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from app.core.formats.structure import Structure
from app.core.tile_errors import CorruptTileError

MAX_LOST_SHARE: Final = 0.1
"""Pixels without data, of all pixels. An upload that broke off is refused, since sending it again
helps; a tile of which some rows are lost is classified and marked as damaged."""

_SCALES: Final = (8, 4, 2)
_MODES: Final = {"Gray": "GRAY", "YCbCr": "RGB", "RGB": "RGB", "CMYK": "CMYK", "YCCK": "CMYK"}
_MODE_BY_N_CHANNELS: Final = {1: "L", 3: "RGB", 4: "CMYK"}
# libjpeg fills blocks that it has no data for with zeros, which is this level in every component.
_LEVEL_OF_LOST_BLOCKS: Final = 128


def decode_jpeg(structure: Structure, side_px: int) -> tuple[Image.Image, bool] | None:
    """Decode to the smallest scale at which both sides have at least `side_px`.

    Args:
        structure: of a JPEG.
        side_px: side of the tile.

    Returns:
        The picture of mode L or RGB, and whether the decoder warned of damage; None if
        simplejpeg does not know the chroma subsampling (4:1:0 and rarer ones).

    Raises:
        CorruptTileError: nothing, or less than most of the picture, can be decoded.
        MemoryError: there is too little memory.
    """
    jpeg = structure.pixel_bytes
    try:
        height_px, width_px, colours, _ = simplejpeg.decode_jpeg_header(jpeg, strict=False)
    except (ValueError, KeyError):
        return None
    if (height_px, width_px) != (structure.height_px, structure.width_px):
        raise CorruptTileError("JPEG")  # the limits were checked for another size
    factor = min(width_px, height_px) // side_px
    scale = next((scale for scale in _SCALES if scale <= factor), 1)
    sides = -(-height_px // scale), -(-width_px // scale)
    mode = _MODES[colours]
    try:
        return _as_image(_decode(jpeg, mode, sides, strict=True)), False
    except ValueError:
        return _as_image(_recover(jpeg, mode, sides)), True


def _recover(jpeg: bytes, mode: str, sides: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode in spite of warnings, if they leave most of the picture."""
    try:
        pixels = _decode(jpeg, mode, sides, strict=False)
    except ValueError as error:
        raise CorruptTileError("JPEG") from error
    lost = (np.abs(pixels.astype(np.int16) - _LEVEL_OF_LOST_BLOCKS) <= 1).all(axis=-1)
    if lost.mean() > MAX_LOST_SHARE:
        raise CorruptTileError("JPEG")
    return pixels


def _as_image(pixels: NDArray[np.uint8]) -> Image.Image:
    """RGB or L from uint8 `[H, W, C]`."""
    mode = _MODE_BY_N_CHANNELS[pixels.shape[2]]
    if mode == "CMYK":
        pixels = ~pixels  # Adobe inverts them, and others are refused
    # Three times as fast as `Image.fromarray`, which copies twice.
    image = Image.frombuffer(mode, pixels.shape[1::-1], pixels, "raw", mode, 0, 1)
    return image.convert("RGB") if mode == "CMYK" else image


def _decode(jpeg: bytes, mode: str, sides: tuple[int, int], strict: bool) -> NDArray[np.uint8]:
    try:
        # `fastdct` and `fastupsample` would change pixels.
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            jpeg, mode, False, False, min_height=sides[0], min_width=sides[1], strict=strict
        )
    except ValueError as error:
        if "memory" in str(error):
            raise MemoryError("too little memory to decode a JPEG") from error
        raise
    return pixels
