"""PNG: the chunks that hold pixels (PNG specification, third edition)."""

from __future__ import annotations

import struct
from typing import Final

from app.core.errors import CorruptTileError, TooManyFramesError, TooManySegmentsError
from app.core.formats.ifd import read_orientation
from app.core.formats.structure import Structure

MAX_CHUNKS: Final = 64 * 1024
"""Encoders write image data in chunks of 8 KiB or more, some of 1 KiB: 20 Ki in a file of 20 MB."""
MAX_EXIF_BYTES: Final = 64 * 1024
"""As much as a JPEG can hold."""

_SIGNATURE_BYTES: Final = 8
_PIXEL_CHUNKS: Final = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})


def read_png(png: bytes) -> Structure:
    """Read a PNG's chunks; those that do not decide a pixel go.

    Args:
        png: begins with the PNG signature.

    Raises:
        CorruptTileError: the chunks do not lead to an end, or there is no header.
        TooManySegmentsError: more than `MAX_CHUNKS`.
        TooManyFramesError: an animation of several frames.
    """
    kept: list[tuple[int, int]] = []
    size: tuple[int, int] | None = None
    at, kept_from, orientation = _SIGNATURE_BYTES, 0, 0
    for _ in range(MAX_CHUNKS):
        try:
            n_bytes, kind = struct.unpack_from(">I4s", png, at)
        except struct.error:
            break  # Pillow answers for a file that ends early
        end = at + 12 + n_bytes
        if kind == b"IHDR" and n_bytes >= 8:
            size = struct.unpack_from(">II", png, at + 8)
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
    if size is None:
        raise CorruptTileError("PNG")
    if kept:
        kept.append((kept_from, at))
        view = memoryview(png)
        png = b"".join(view[begin:end] for begin, end in kept)
    return Structure("PNG", size[0], size[1], orientation or 1, png, is_predictable=True)
