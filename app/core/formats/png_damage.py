"""Damage of a PNG that Pillow does not report: it skips the checksums of the image data."""

from __future__ import annotations

import struct
import zlib
from typing import Final

import numpy as np
from PIL import Image

from app.core.formats.zlib_data import inflated_bytes
from app.core.tile_errors import CorruptTileError

_FIRST_CHUNK_AT: Final = 8
_HEADER_AT: Final = 16
_N_SAMPLES: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_WHOLE: Final = ((0, 0, 1, 1),)
_ADAM7: Final = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
"""First column and row of each pass, and the steps to the next ones."""


def require_whole_pixels(png: bytes, image: Image.Image) -> None:
    """Check that each row was decoded, from data that are as they were written.

    The data are decompressed a second time only if there is a reason: a chunk with a wrong
    checksum, or a last row that is zero, as rows are that never came.

    Args:
        png: the file; its header was checked.
        image: its pixels, as Pillow decodes them.

    Raises:
        CorruptTileError: rows are missing, or data are damaged.
    """
    parts, are_as_written = _image_data(png)
    # The last row of an interlaced picture's last pass is one of the last two.
    last_rows = np.asarray(image.crop((0, image.height - 2, *image.size)))
    if are_as_written and all(row.any() for row in last_rows):
        return
    n_expected = _raw_bytes(png)
    try:
        n_bytes = inflated_bytes(parts, n_expected)
    except zlib.error as error:
        raise CorruptTileError("PNG") from error
    if n_bytes < n_expected or (n_bytes > n_expected and not are_as_written):
        raise CorruptTileError("PNG")


def _image_data(png: bytes) -> tuple[list[memoryview], bool]:
    """The image data, and whether all of their checksums are right."""
    view, parts, are_as_written = memoryview(png), [], True
    at = _FIRST_CHUNK_AT
    while at + 8 <= len(png):
        n_bytes, kind = struct.unpack_from(">I4s", png, at)
        end = at + 8 + n_bytes
        if kind == b"IDAT":
            parts.append(view[at + 8 : end])
            checksum = int.from_bytes(view[end : end + 4])
            are_as_written &= zlib.crc32(view[at + 4 : end]) == checksum
        at = end + 4
    return parts, are_as_written


def _raw_bytes(png: bytes) -> int:
    """Number of decompressed bytes: each row, preceded by a byte that names its filter."""
    width_px, height_px, depth, colour_type, *_, is_interlaced = struct.unpack_from(
        ">IIBBBBB", png, _HEADER_AT
    )
    n_bytes = 0
    for left, top, across, down in _ADAM7 if is_interlaced else _WHOLE:
        n_columns = -(-(width_px - left) // across)
        n_rows = -(-(height_px - top) // down)
        n_bytes += n_rows * (1 + -(-n_columns * _N_SAMPLES[colour_type] * depth // 8))
    return n_bytes
