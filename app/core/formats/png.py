"""PNG: the chunks that hold pixels (PNG specification, third edition)."""

from __future__ import annotations

import struct
from typing import Final

from app.core.formats.ifd import read_orientation
from app.core.formats.structure import Structure
from app.core.tile_errors import CorruptTileError, TooManyFramesError, TooManySegmentsError

MAX_CHUNKS: Final = 64 * 1024
"""Encoders write image data in chunks of 8 KiB or more, some of 1 KiB: 20 Ki in a file of 20 MB."""
MAX_EXIF_BYTES: Final = 64 * 1024
"""As much as a JPEG can hold."""

PREDICTABLE_RAW_BYTES: Final = 64 * 1024**2
"""Decompressed: 4096 x 4096 px of 8-bit RGBA."""

_SIGNATURE_BYTES: Final = 8
_HEADER_BYTES: Final = 13
_SAMPLES_BY_COLOUR_TYPE: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PIXEL_CHUNKS: Final = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})


def read_png(png: bytes) -> Structure:
    """Read a PNG's chunks; those that do not decide a pixel go.

    Args:
        png: begins with the PNG signature.

    Raises:
        CorruptTileError: no header, or several.
        TooManySegmentsError: more than `MAX_CHUNKS`.
        TooManyFramesError: an animation of several frames.
    """
    kept: list[tuple[int, int]] = []
    header: tuple[int, ...] | None = None
    at, kept_from, orientation = _SIGNATURE_BYTES, 0, 0
    for _ in range(MAX_CHUNKS):
        try:
            n_bytes, kind = struct.unpack_from(">I4s", png, at)
        except struct.error:
            break  # Pillow answers for a file that ends early
        end = at + 12 + n_bytes
        if kind == b"IHDR":
            if header is not None or n_bytes != _HEADER_BYTES or end > len(png):
                raise CorruptTileError("PNG")
            header = struct.unpack_from(">IIBBBBB", png, at + 8)
        elif kind == b"acTL" and int.from_bytes(png[at + 8 : at + 12]) > 1:
            raise TooManyFramesError(1)
        elif kind == b"eXIf" and not orientation:
            orientation = read_orientation(png[at + 8 : min(end - 4, at + 8 + MAX_EXIF_BYTES)])
        if kind not in _PIXEL_CHUNKS:
            kept.append((kept_from, at))
            kept_from = end
        at = end
        if kind == b"IEND" or at >= len(png):
            break
    else:
        raise TooManySegmentsError("PNG", MAX_CHUNKS)
    if header is None:
        raise CorruptTileError("PNG")
    width_px, height_px, depth, colour_type = header[:4]
    n_samples = width_px * height_px * _SAMPLES_BY_COLOUR_TYPE.get(colour_type, 4)
    is_predictable = n_samples * max(8, depth) // 8 <= PREDICTABLE_RAW_BYTES
    if kept:
        kept.append((kept_from, at))
        view = memoryview(png)
        png = b"".join(view[begin:end] for begin, end in kept)
    return Structure("PNG", width_px, height_px, orientation or 1, png, is_predictable)
