"""A strip or tile of JPEG data in a TIFF (TIFF Technical Note 2)."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.core.formats import tiff_tags as t
from app.core.formats.jpeg import read_jpeg
from app.core.formats.jpeg_pixels import decode_jpeg
from app.core.formats.tiff_samples import Samples
from app.core.tile_errors import CorruptTileError, PixelFormatError

_START, _END = b"\xff\xd8", b"\xff\xd9"
_ADOBE: Final = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"
"""An Adobe segment up to its last byte, which says how the colours are transformed."""
_UNTRANSFORMED, _YCBCR = 0, 1
_MODE_BY_SAMPLES: Final = {1: "L", 3: "RGB"}


def decode_jpeg_piece(
    stream: bytes, size: tuple[int, int], samples: Samples
) -> tuple[NDArray[np.uint8], bool]:
    """Decode one strip or tile with the checks of a JPEG file.

    Args:
        stream: its data.
        size: width, and rows that are needed.
        samples: what the TIFF says about the colours.

    Returns:
        uint8 `[rows, width, interleaved samples]`, RGB if there are three; and whether the
        decoder warned of damage.

    Raises:
        TileError: what `read_jpeg` raises.
        PixelFormatError: the JPEG contradicts the tags.
        CorruptTileError: no JPEG, or one that is too small.
        OSError, ValueError, SyntaxError: damaged data, as Pillow reports it.
    """
    if not stream.startswith(_START):
        raise CorruptTileError("TIFF")
    transform = _YCBCR if samples.photometric == t.YCBCR else _UNTRANSFORMED
    tables = samples.jpeg_tables.removeprefix(_START).removesuffix(_END)
    file = b"".join([_START, _ADOBE, bytes([transform]), tables, stream[len(_START) :]])
    structure = read_jpeg(file)
    image = Image.open(io.BytesIO(structure.pixel_bytes), formats=("JPEG",))
    n_components = len(image.getbands())
    if image.mode != _MODE_BY_SAMPLES.get(samples.n_interleaved):
        raise PixelFormatError(
            f"TIFF of {samples.n_interleaved} samples with JPEG of {n_components} inside"
        )
    if n_components == 3:
        # The stream's own segments count more than the one in front of it.
        is_ycbcr = "jfif" in image.info or image.info.get("adobe_transform") == _YCBCR
        if is_ycbcr != (transform == _YCBCR):
            raise PixelFormatError("TIFF whose colours differ from those of the JPEG inside")
    if image.width != size[0] or image.height < size[1]:
        raise CorruptTileError("TIFF")
    # A side this long means the full scale.
    decoded, is_damaged = decode_jpeg(structure, max(image.size)) or (image, False)
    return np.asarray(decoded).reshape(image.height, image.width, n_components), is_damaged
