"""A tile of a slide as JPEG, in the parts that TIFF keeps apart: tables and the rest."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Colours = Literal["ycbcr", "rgb"]

_TABLES: Final = (0xDB, 0xC4)
_APPLICATION: Final = range(0xE0, 0xF0)
_FRAME, _SCAN = 0xC0, 0xDA


@dataclass(frozen=True, slots=True)
class JpegParts:
    """An abbreviated JPEG (ITU-T T.81, annex B.4), as in a tile of a TIFF, and its tables."""

    tables: bytes
    abbreviated: bytes


def encode_in_parts(pixels: NDArray[np.uint8], quality: int, colours: Colours) -> JpegParts:
    """Encode uint8 `[H, W, 3]`; without JFIF and Adobe segments, as scanners write it.

    RGB without an Adobe segment has the component ids 0, 1 and 2, as libtiff writes it: a decoder
    that does not know the tag Photometric takes it for YCbCr.
    """
    stream = io.BytesIO()
    subsampling = {"ycbcr": 2, "rgb": 0}[colours]
    Image.fromarray(pixels).save(
        stream, "JPEG", quality=quality, subsampling=subsampling, keep_rgb=colours == "rgb"
    )
    tables, rest = b"", b""
    jpeg, at = stream.getvalue(), 2
    while True:
        marker, length = struct.unpack_from(">xBH", jpeg, at)
        segment = jpeg[at : at + 2 + length]
        at += len(segment)
        if marker in _TABLES:
            tables += segment
        elif marker not in _APPLICATION:
            rest += _with_plain_ids(marker, segment) if colours == "rgb" else segment
        if marker == _SCAN:
            return JpegParts(b"\xff\xd8" + tables + b"\xff\xd9", b"\xff\xd8" + rest + jpeg[at:])


def whole_jpeg(parts: JpegParts) -> bytes:
    """The tables and the rest as one file, without a word about colours."""
    return parts.tables[:-2] + parts.abbreviated[2:]


def _with_plain_ids(marker: int, segment: bytes) -> bytes:
    first, step = {_FRAME: (10, 3), _SCAN: (5, 2)}.get(marker, (0, 0))
    changed = bytearray(segment)
    for component in range(3 if step else 0):
        changed[first + step * component] = component
    return bytes(changed)
