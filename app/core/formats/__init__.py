"""The structure of an image file, read before anything is decoded.

A decoder trusts its input: a few hundred bytes can make it allocate gigabytes or work for minutes.
`read_structure` walks the file's own framing (markers, chunks, tags) in bounded time, and refuses
a file that would cost more than its pixels. It also drops the metadata that the pixels do not need,
so that a damaged or enormous profile neither costs time nor refuses a sound image.
"""

from __future__ import annotations

from app.core.formats.jpeg import read_jpeg
from app.core.formats.png import read_png
from app.core.formats.structure import Structure
from app.core.formats.tiff import read_tiff
from app.core.formats.webp import read_webp
from app.core.tile_errors import TileFormatError

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP")

__all__ = ["FORMATS", "Structure", "read_structure"]


def read_structure(tile_bytes: bytes, max_pixels: int) -> Structure:
    """Recognise the format by content and read the file's structure.

    Args:
        tile_bytes: a whole file.
        max_pixels: width times height.

    Raises:
        TileError: one of its subclasses, for every file whose cost is not bounded by its pixels.
    """
    if tile_bytes.startswith(b"\xff\xd8\xff"):
        return read_jpeg(tile_bytes)
    if tile_bytes.startswith(b"\x89PNG"):
        return read_png(tile_bytes)
    if tile_bytes[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return read_tiff(tile_bytes, max_pixels)
    if tile_bytes[:4] == b"RIFF" and tile_bytes[8:12] == b"WEBP":
        return read_webp(tile_bytes)
    raise TileFormatError(FORMATS)
