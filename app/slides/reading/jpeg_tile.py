"""Decode one JPEG tile of a slide at a reduced scale, within the limits of an uploaded tile."""

from __future__ import annotations

from typing import Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from app.core.errors import TileError
from app.core.formats.jpeg import read_jpeg
from app.core.formats.jpeg_segments import START_OF_SCAN, next_segment
from app.core.slide_errors import CorruptSlideError

_START: Final = b"\xff\xd8"
_SEQUENTIAL_FRAMES: Final = (0xC0, 0xC1)
_COMPONENTS_AT: Final = 9
_NO_HEADER: Final = b"none"
_MAX_KNOWN_HEADERS: Final = 16
_COLOURS: Final = ("YCbCr", "RGB")
_PADDING_WARNING: Final = "extraneous bytes before marker 0xd9"
_PADDED_END: Final = bytes(8) + b"\xff\xd9"
"""End of a tile that was padded with zeros to a fixed length. Other bytes in this place are left
over when decoding went out of step in damaged data."""


class JpegTileDecoder:
    """Decodes tiles, most of which begin with the same tables and frame header.

    A header is checked once: the tiles of a baseline JPEG behind it have one scan, so that nothing
    else about their cost can differ. Several threads may decode at once.
    """

    def __init__(self) -> None:
        self._known: tuple[tuple[bytes, tuple[int, int]], ...] = ()

    def decode(self, jpeg: bytes, size: tuple[int, int], scale: int) -> NDArray[np.uint8]:
        """Decode a tile.

        Args:
            jpeg: a whole file, whose markers say what its colours are.
            size: width and height that it must have.
            scale: 1, 2, 4 or 8, which divides both.

        Returns:
            uint8 `[height / scale, width / scale, 3]`, RGB.

        Raises:
            CorruptSlideError: it is damaged, has another size, or costs more than its pixels.
        """
        try:
            jpeg, found = self._checked(jpeg)
        except TileError as error:
            raise CorruptSlideError(f"a tile inside: {error}") from error
        except (ValueError, KeyError) as error:  # chroma subsampling that libjpeg-turbo lacks
            raise CorruptSlideError("a tile inside is of a kind that is not read.") from error
        if found != size:
            raise CorruptSlideError(
                f"a tile inside has {found[0]} x {found[1]} px instead of {size[0]} x {size[1]}."
            )
        shape = size[1] // scale, size[0] // scale
        try:
            pixels = _decode(jpeg, shape)
        except (ValueError, KeyError) as error:
            raise CorruptSlideError("a tile inside is damaged.") from error
        if pixels.shape != (*shape, 3):
            raise CorruptSlideError("a tile inside has another kind of pixels.")
        return pixels

    def _checked(self, jpeg: bytes) -> tuple[bytes, tuple[int, int]]:
        """The file without what its pixels do not need, and its size."""
        for header, size in self._known:
            if jpeg.startswith(header):
                return jpeg, size
        structure = read_jpeg(jpeg)
        if simplejpeg.decode_jpeg_header(structure.pixel_bytes, strict=False)[2] not in _COLOURS:
            raise CorruptSlideError("a tile inside has no colours.")
        size = structure.width_px, structure.height_px
        header = _header_of_one_scan(jpeg)
        if structure.pixel_bytes.startswith(header) and len(self._known) < _MAX_KNOWN_HEADERS:
            self._known = (*self._known, (header, size))
        return structure.pixel_bytes, size


def _header_of_one_scan(jpeg: bytes) -> bytes:
    """Everything before the pixels of a sequential JPEG whose first scan has all components.

    A decoder refuses a further scan then. For other files the result is no file's beginning.
    """
    at, n_components = len(_START), 0
    while True:
        marker, start, _, at = next_segment(jpeg, at)
        if marker in _SEQUENTIAL_FRAMES:
            n_components = jpeg[start + _COMPONENTS_AT]
        if marker == START_OF_SCAN:
            return jpeg[:at] if n_components and jpeg[start + 4] == n_components else _NO_HEADER


def _decode(jpeg: bytes, shape: tuple[int, int]) -> NDArray[np.uint8]:
    try:
        return _decode_strictly(jpeg, shape, strict=True)
    except ValueError as error:
        if "memory" in str(error):
            raise MemoryError("too little memory to decode a tile of a slide") from error
        if _PADDING_WARNING not in str(error) or not jpeg.endswith(_PADDED_END):
            raise
        return _decode_strictly(jpeg, shape, strict=False)


def _decode_strictly(jpeg: bytes, shape: tuple[int, int], strict: bool) -> NDArray[np.uint8]:
    # As in app.core.formats.jpeg_pixels: `fastdct` and `fastupsample` would change pixels.
    pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
        jpeg, "RGB", False, False, min_height=shape[0], min_width=shape[1], strict=strict
    )
    return pixels
