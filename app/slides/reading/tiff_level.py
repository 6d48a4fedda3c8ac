"""A level of a tiled TIFF whose tiles are JPEG (TIFF Technical Note 2)."""

from __future__ import annotations

import os
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.formats import tiff_tags as t
from app.core.slide_errors import CorruptSlideError
from app.slides.reading.jpeg_tile import JpegTileDecoder
from app.slides.reading.tiff_directories import Directory

_START, _END = b"\xff\xd8", b"\xff\xd9"
_ADOBE: Final = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"
"""An Adobe segment up to its last byte, which says how the colours are transformed."""
_UNTRANSFORMED, _YCBCR = 0, 1
_APPLICATION: Final = range(0xE0, 0xF0)
_MAX_APPLICATION_SEGMENTS: Final = 8
_SAMPLES: Final = 3


class TiffJpegLevel:
    """A `TiledLevel`. The tag Photometric says what the colours are, as for every reader of TIFF.

    Attributes:
        size, tile_size, downsample: as in `TiledLevel`.
    """

    def __init__(
        self,
        file: int,
        directory: Directory,
        downsample: float,
        decoder: JpegTileDecoder,
        max_encoded_bytes: int,
    ) -> None:
        """Take the tables of a directory that `is_jpeg_level` accepts.

        Args:
            file: a descriptor, which stays open.
            directory: of the level.
            downsample: level-0 pixels per pixel of this level.
            decoder: of the slide.
            max_encoded_bytes: of one tile.
        """
        self.size = directory.size
        self.tile_size = directory.one(t.TILE_WIDTH), directory.one(t.TILE_HEIGHT)
        self.downsample = downsample
        self._file, self._decoder, self._max_bytes = file, decoder, max_encoded_bytes
        self._offsets, self._counts = directory.tags[t.TILE_OFFSETS], directory.tags[t.TILE_COUNTS]
        self._n_columns = -(-self.size[0] // self.tile_size[0])
        tables = directory.bytes_of(t.JPEG_TABLES).removeprefix(_START).removesuffix(_END)
        is_ycbcr = directory.one(t.PHOTOMETRIC) == t.YCBCR
        transform = _YCBCR if is_ycbcr else _UNTRANSFORMED
        self._before = b"".join([_START, _ADOBE, bytes([transform]), tables])

    def read_tile(self, column: int, row: int, scale: int) -> NDArray[np.uint8] | None:
        """Decode a tile; see `TiledLevel`."""
        index = row * self._n_columns + column
        at, n_bytes = int(self._offsets[index]), int(self._counts[index])
        if at == 0 or n_bytes == 0:
            return None
        if n_bytes > self._max_bytes:
            raise CorruptSlideError(f"a tile inside has {n_bytes:,} bytes.")
        encoded = os.pread(self._file, n_bytes, at)
        if len(encoded) != n_bytes or not encoded.startswith(_START):
            raise CorruptSlideError("a tile inside is no JPEG.")
        jpeg = self._before + encoded[_end_of_application_data(encoded) :]
        return self._decoder.decode(jpeg, self.tile_size, scale)


def is_jpeg_level(directory: Directory) -> bool:
    """Whether `TiffJpegLevel` reads the directory's tiles."""
    return (
        directory.one(t.COMPRESSION) == t.JPEG
        and directory.one(t.PHOTOMETRIC) in (t.RGB, t.YCBCR)
        and directory.one(t.SAMPLES_PER_PIXEL) == _SAMPLES
        and directory.one(t.PLANAR, 1) == 1
    )


def _end_of_application_data(encoded: bytes) -> int:
    """Where a stream goes on behind segments that may contradict the tag Photometric."""
    at = len(_START)
    for _ in range(_MAX_APPLICATION_SEGMENTS):
        if encoded[at : at + 1] != b"\xff" or encoded[at + 1] not in _APPLICATION:
            break
        at = min(at + 2 + int.from_bytes(encoded[at + 2 : at + 4]), len(encoded) - 1)
    return at
