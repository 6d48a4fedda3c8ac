"""PNG: the chunks that hold pixels (PNG specification, third edition)."""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass, field
from typing import Final

from app.core.formats.excerpt import Excerpt
from app.core.formats.ifd import read_orientation
from app.core.formats.structure import Structure
from app.core.tile_errors import (
    CorruptTileError,
    PixelFormatError,
    TooManyFramesError,
    TooManySegmentsError,
)

MAX_CHUNKS: Final = 64 * 1024
"""Encoders write image data in chunks of 8 KiB or more, some of 1 KiB: 20 Ki in a file of 20 MB."""
MAX_EXIF_BYTES: Final = 64 * 1024
"""As much as a JPEG can hold."""

PREDICTABLE_RAW_BYTES: Final = 64 * 1024**2
"""Decompressed: 4096 x 4096 px of 8-bit RGBA."""

_UPRIGHT: Final = 1
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_HEADER_BYTES: Final = 13
_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_SAMPLES_BY_COLOUR_TYPE: Final = {_GREY: 1, _RGB: 3, _PALETTE: 1, _GREY_ALPHA: 2, _RGBA: 4}
_DEPTHS_BY_COLOUR_TYPE: Final = {
    _GREY: (1, 2, 4, 8, 16),
    _PALETTE: (1, 2, 4, 8),
    **dict.fromkeys((_RGB, _GREY_ALPHA, _RGBA), (8, 16)),
}
_PIXEL_CHUNKS: Final = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_PIXEL_CHUNK: Final = re.compile(rb"PLTE|tRNS|IDAT|IEND")
_ANCILLARY_BIT: Final = 0x20  # of the first letter, which is then a small one


def read_png(png: bytes) -> Structure:
    """Read a PNG's chunks; those that do not decide a pixel go.

    So does the transparent colour of a grey or RGB picture, which `Structure` has instead: decoders
    compare it with the pixels after they have reduced these to 8 bits.

    Args:
        png: begins with the first half of the PNG signature.

    Raises:
        CorruptTileError: the second half of the signature was changed, as transfers of text do; no
            header, or several, or one that the specification forbids; a palette that is missing,
            repeated or cut; a transparent colour whose checksum is wrong.
        PixelFormatError: a critical chunk that the specification does not know, as Apple writes.
        TooManySegmentsError: more than `MAX_CHUNKS`.
        TooManyFramesError: an animation of several frames.
    """
    if not png.startswith(_SIGNATURE):
        raise CorruptTileError("PNG")
    excerpt = Excerpt(png)
    stated = _Statements()
    at = len(_SIGNATURE)
    for _ in range(MAX_CHUNKS):
        try:
            n_bytes, kind = struct.unpack_from(">I4s", png, at)
        except struct.error:
            break  # Pillow answers for a file that ends early
        end = at + 12 + n_bytes
        if not stated.read(kind, png, at, end):
            begin, end = at, _end_of_metadata(png, at, end)
            excerpt.drop(begin, end)
        at = end
        if kind == b"IEND" or at >= len(png):
            break
    else:
        raise TooManySegmentsError("PNG", MAX_CHUNKS)
    if stated.header is None:
        raise CorruptTileError("PNG")
    width_px, height_px, depth, colour_type = stated.header[:4]
    n_samples = width_px * height_px * _SAMPLES_BY_COLOUR_TYPE[colour_type]
    return Structure(
        "PNG",
        width_px,
        height_px,
        stated.orientation or _UPRIGHT,
        excerpt.joined(at),
        is_predictable=n_samples * max(8, depth) // 8 <= PREDICTABLE_RAW_BYTES,
        transparent_colour=stated.transparent_colour,
    )


@dataclass(slots=True)
class _Statements:
    """What the chunks have said so far."""

    header: tuple[int, ...] | None = None
    transparent_colour: tuple[int, ...] | None = None
    orientation: int = 0
    kinds: set[bytes] = field(default_factory=set)

    def read(self, kind: bytes, png: bytes, at: int, end: int) -> bool:
        """Read one chunk, from `at` to `end`, and return whether the pixels need it."""
        is_palette = self.header is not None and self.header[3] == _PALETTE
        if kind == b"PLTE" and self.header is not None and not is_palette:
            return False  # a hint for screens of few colours
        if kind in _PIXEL_CHUNKS:
            self._require_order(kind, end - at - 12, is_palette)
        if kind == b"IHDR":
            if end - at != 12 + _HEADER_BYTES or end > len(png):
                raise CorruptTileError("PNG")
            self.header = _read_header(png, at + 8)
        elif kind == b"tRNS" and self.header is not None and not is_palette:
            self.transparent_colour = _read_transparent_colour(png[at:end], *self.header[2:4])
            return False
        elif kind == b"acTL" and int.from_bytes(png[at + 8 : min(end - 4, at + 12)]) > 1:
            raise TooManyFramesError(1)
        elif kind == b"eXIf" and not self.orientation:
            exif = png[at + 8 : min(end - 4, at + 8 + MAX_EXIF_BYTES)]
            self.orientation = read_orientation(exif)
        elif kind not in _PIXEL_CHUNKS:
            _require_ancillary(kind)
        return kind in _PIXEL_CHUNKS

    def _require_order(self, kind: bytes, n_bytes: int, is_palette: bool) -> None:
        """Check that the header is first, and the palette whole and before what needs it."""
        is_repeated = kind in self.kinds and kind != b"IDAT"
        is_early = self.header is None and kind != b"IHDR"
        is_late = kind in (b"PLTE", b"tRNS") and b"IDAT" in self.kinds
        needs_palette = is_palette and kind in (b"tRNS", b"IDAT")
        lacks_palette = needs_palette and b"PLTE" not in self.kinds
        is_cut = kind == b"PLTE" and (n_bytes == 0 or n_bytes % 3 != 0)
        if is_repeated or is_early or is_late or lacks_palette or is_cut:
            raise CorruptTileError("PNG")
        self.kinds.add(kind)


def _read_header(png: bytes, at: int) -> tuple[int, ...]:
    """Width, height, depth, colour type, and the methods."""
    header: tuple[int, ...] = struct.unpack_from(">IIBBBBB", png, at)
    depth, colour_type, compression, filtering, interlacing = header[2:]
    is_known = depth in _DEPTHS_BY_COLOUR_TYPE.get(colour_type, ())
    if not is_known or compression or filtering or interlacing > 1:
        raise CorruptTileError("PNG")
    return header


def _read_transparent_colour(chunk: bytes, depth: int, colour_type: int) -> tuple[int, ...] | None:
    """The samples of a `tRNS` chunk; None where the pixels have an alpha channel of their own."""
    if colour_type not in (_GREY, _RGB):
        return None
    n_samples = _SAMPLES_BY_COLOUR_TYPE[colour_type]
    data, checksum = chunk[8:-4], chunk[-4:]
    if len(data) != 2 * n_samples or zlib.crc32(chunk[4:-4]) != int.from_bytes(checksum):
        raise CorruptTileError("PNG")
    top = (1 << depth) - 1  # only as many bits count as a sample of the picture has
    spread = max(1, 255 // top)
    return tuple((sample & top) * spread for sample in struct.unpack(f">{n_samples}H", data))


def _require_ancillary(kind: bytes) -> None:
    if kind.isalpha() and not kind[0] & _ANCILLARY_BIT:
        raise PixelFormatError(f"PNG with the critical chunk {kind.decode()}")


def _end_of_metadata(png: bytes, at: int, end: int) -> int:
    """Where the next chunk begins, also if the one at `at` states a wrong length."""
    if end == len(png) or png[end + 4 : end + 8].isalpha():
        return end
    found = _PIXEL_CHUNK.search(png, at + 8)
    return len(png) if found is None else found.start() - 4
