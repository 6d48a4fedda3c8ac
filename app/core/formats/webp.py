"""WebP: the chunks that hold pixels, the canvas size and whether it moves (RFC 9649)."""

from __future__ import annotations

import struct
from typing import Final

from app.core.formats.ifd import read_orientation
from app.core.formats.structure import Structure
from app.core.tile_errors import CorruptTileError, TooManyFramesError, TooManySegmentsError

MAX_CHUNKS: Final = 1024
_HEADER_BYTES: Final = 12
_EXIF: Final = b"Exif\0\0"
_ANIMATED: Final = 0x02
_HAS_ALPHA: Final = 0x10
_KEY_FRAME_START: Final = b"\x9d\x01\x2a"
_LOSSLESS_SIGNATURE: Final = 0x2F
_PIXEL_CHUNKS: Final = frozenset({b"VP8X", b"ALPH", b"VP8 ", b"VP8L"})


def read_webp(webp: bytes) -> Structure:
    """Read a WebP's chunks; those that do not decide a pixel go.

    Args:
        webp: begins with `RIFF....WEBP`; the size that it states is not needed.

    Raises:
        CorruptTileError: no image chunk.
        TooManyFramesError: an animation.
        TooManySegmentsError: more than `MAX_CHUNKS`.
    """
    sizes: list[tuple[int, int]] = []
    parts: list[bytes] = []
    at, orientation = _HEADER_BYTES, 0
    for _ in range(MAX_CHUNKS):
        try:
            kind, n_bytes = struct.unpack_from("<4sI", webp, at)
            if kind == b"EXIF" and not orientation:
                orientation = read_orientation(webp[at + 8 : at + 8 + n_bytes].removeprefix(_EXIF))
            sizes += _size_in_chunk(webp, at + 8, kind)
        except (struct.error, IndexError):
            break
        if kind in _PIXEL_CHUNKS:
            parts.append(_without_metadata_flags(webp[at : at + 8 + n_bytes]))
            parts.append(bytes(n_bytes % 2))
        at += 8 + n_bytes + n_bytes % 2
    else:
        raise TooManySegmentsError("WebP", MAX_CHUNKS)
    if not sizes:
        raise CorruptTileError("WEBP")
    # A canvas and an image may disagree: the larger one is what memory must be there for.
    width_px, height_px = (max(sides) for sides in zip(*sizes, strict=True))
    n_pixel_bytes = len(b"WEBP") + sum(map(len, parts))
    pixel_bytes = b"".join([b"RIFF", struct.pack("<I", n_pixel_bytes), b"WEBP", *parts])
    return Structure(
        "WEBP", width_px, height_px, orientation or 1, pixel_bytes, is_predictable=False
    )


def _without_metadata_flags(chunk: bytes) -> bytes:
    if not chunk.startswith(b"VP8X"):
        return chunk
    return chunk[:8] + bytes(flags & _HAS_ALPHA for flags in chunk[8:9]) + chunk[9:]


def _size_in_chunk(webp: bytes, at: int, kind: bytes) -> list[tuple[int, int]]:
    """Width and height that a chunk states; nothing for chunks that state none."""
    if kind == b"VP8X":
        if webp[at] & _ANIMATED:
            raise TooManyFramesError(1)
        canvas = (
            int.from_bytes(webp[at + 4 : at + 7], "little"),
            int.from_bytes(webp[at + 7 : at + 10], "little"),
        )
        return [(canvas[0] + 1, canvas[1] + 1)]
    if kind == b"VP8 " and webp[at + 3 : at + 6] == _KEY_FRAME_START:
        width, height = struct.unpack_from("<HH", webp, at + 6)
        return [(width & 0x3FFF, height & 0x3FFF)]
    if kind == b"VP8L" and webp[at] == _LOSSLESS_SIGNATURE:
        (bits,) = struct.unpack_from("<I", webp, at + 1)
        return [((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)]
    return []
