"""JPEG: markers before the first scan, and the number of scans (ITU-T T.81)."""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from app.core.formats.ifd import read_orientation
from app.core.formats.structure import Structure
from app.core.tile_errors import (
    CorruptTileError,
    PixelFormatError,
    TooManyScansError,
    TooManySegmentsError,
)

MAX_SCANS: Final = 100
"""Ordinary progressive JPEGs have about 10. A scan of 30 bytes can cost a pass over all pixels."""
MAX_SCANNED_PIXELS: Final = 400 * 1024**2
"""Scans times pixels: about two seconds of Huffman decoding; 10 scans of 4096 x 4096 px are 160 Mi.
"""
PREDICTABLE_SCANNED_PIXELS: Final = 64 * 1024**2
"""A third of a second of Huffman decoding; 60 scans of 1024 x 1024 px."""
MAX_SEGMENTS: Final = 1024
"""Before the first scan. Ordinary files have 5 to 30; each costs a decoder a system call or a
callback, so that a file of empty segments takes seconds."""

_START_OF_SCAN: Final = 0xDA
_END_OF_IMAGE: Final = 0xD9
_APP0, _APP1, _APP14, _APP15, _COMMENT = 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
# Frame headers (SOFn); 0xC4, 0xC8 and 0xCC are tables.
_BASELINE, _EXTENDED, _PROGRESSIVE = 0xC0, 0xC1, 0xC2
_OTHER_FRAMES: Final = {
    0xC3: "lossless",
    **dict.fromkeys((0xC5, 0xC6, 0xC7), "hierarchical"),
    **dict.fromkeys((0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF), "arithmetic-coded"),
}
_JFIF: Final = b"JFIF\0"
_MIN_JFIF_BYTES: Final = 18  # marker, length and 14 bytes; decoders ignore shorter ones
_EXIF: Final = b"Exif\0\0"
_SCAN_WORD: Final = 0xDAFF  # the bytes 0xFF 0xDA, read as a little-endian word
_FILL: Final = re.compile(rb"\xff+")
# Stuffed zeros, restart markers and fill bytes belong to the data of a scan. Decoders skip markers
# below 0xC0 there, which have no length.
_MARKER_AFTER_DATA: Final = re.compile(rb"\xff([\xc0-\xcf\xd8-\xfe])")


def read_jpeg(jpeg: bytes) -> Structure:
    """Read a JPEG's segments up to its first scan.

    Comments and application data go, except for JFIF and Adobe segments, which decide what the
    components mean. The orientation is read from the first EXIF segment.

    Args:
        jpeg: begins with `FF D8`.

    Raises:
        CorruptTileError: the segments do not lead to a scan.
        PixelFormatError: an encoding that common decoders do not read, or that costs many times
            the usual: arithmetic coding, lossless, hierarchical, 12 bits.
        TooManySegmentsError: more than `MAX_SEGMENTS` before the first scan, or between scans.
        TooManyScansError: more than `MAX_SCANS`, or than the pixels allow.
    """
    kept: list[tuple[int, int]] = []
    frame: tuple[int, int] | None = None
    orientation, has_jfif = 0, False
    at, kept_from = 2, 0
    for _ in range(MAX_SEGMENTS):
        marker, start, end = _next_segment(jpeg, at)
        if marker in _OTHER_FRAMES:
            raise PixelFormatError(f"{_OTHER_FRAMES[marker]} JPEG")
        if marker in (_BASELINE, _EXTENDED, _PROGRESSIVE):
            if frame is not None:
                raise CorruptTileError("JPEG")
            frame = _read_frame(jpeg, start + 4, end)
        keeps = not (_APP0 <= marker <= _APP15 or marker == _COMMENT)
        if marker == _APP0:
            is_jfif = jpeg.startswith(_JFIF, start + 4) and end - start >= _MIN_JFIF_BYTES
            keeps = is_jfif and not has_jfif
            has_jfif |= keeps
        elif marker == _APP14:
            keeps = True
        elif marker == _APP1 and not orientation and jpeg.startswith(_EXIF, start + 4):
            orientation = read_orientation(jpeg[start + 4 + len(_EXIF) : end])
        if not keeps or start > at:  # `start > at`: fill bytes
            kept.append((kept_from, at))
            kept_from = start if keeps else end
        at = end
        if marker == _START_OF_SCAN:
            break
    else:
        raise TooManySegmentsError("JPEG", MAX_SEGMENTS)
    if frame is None:
        raise CorruptTileError("JPEG")
    width_px, height_px = frame
    n_scanned = _require_few_scans(jpeg, at, width_px * height_px) * width_px * height_px
    if kept:
        kept.append((kept_from, len(jpeg)))
        view = memoryview(jpeg)
        jpeg = b"".join(view[begin:end] for begin, end in kept)
    is_predictable = n_scanned <= PREDICTABLE_SCANNED_PIXELS
    return Structure("JPEG", width_px, height_px, orientation or 1, jpeg, is_predictable)


def _next_segment(jpeg: bytes, at: int) -> tuple[int, int, int]:
    """Marker, start and end of the segment at `at`; fill bytes before it are skipped."""
    fill = _FILL.match(jpeg, at)  # in place: a copy of the rest for each segment takes seconds
    if fill is None:
        raise CorruptTileError("JPEG")
    start = fill.end() - 1
    if start + 4 > len(jpeg):
        raise CorruptTileError("JPEG")
    marker = jpeg[start + 1]
    if marker in _STANDALONE:
        return marker, start, start + 2
    end = start + 2 + int.from_bytes(jpeg[start + 2 : start + 4])
    if marker in (0, _END_OF_IMAGE) or end < start + 4 or end > len(jpeg):
        raise CorruptTileError("JPEG")
    return marker, start, end


def _read_frame(jpeg: bytes, start: int, end: int) -> tuple[int, int]:
    """Width and height from a frame header of 8 bits a sample."""
    if end - start < 6:
        raise CorruptTileError("JPEG")
    precision = jpeg[start]
    if precision != 8:
        raise PixelFormatError(f"{precision}-bit JPEG")
    height_px = int.from_bytes(jpeg[start + 1 : start + 3])
    width_px = int.from_bytes(jpeg[start + 3 : start + 5])
    return width_px, height_px


def _require_few_scans(jpeg: bytes, first_scan: int, n_pixels: int) -> int:
    """Check the number of scans, and return an upper bound of it.

    Args:
        jpeg: a whole file.
        first_scan: where the entropy-coded data of the first scan begin.
        n_pixels: width times height.
    """
    max_scans = max(1, min(MAX_SCANS, MAX_SCANNED_PIXELS // max(1, n_pixels)))
    # Entropy-coded data cannot contain the marker, but a preview or a video that a camera appends
    # can. So a file that seems to have too many scans is walked.
    n_scans = _count_scan_markers(jpeg)
    if n_scans > max_scans:
        n_scans = _walk_scans(jpeg, first_scan, max_scans)
    return n_scans


def _count_scan_markers(jpeg: bytes) -> int:
    # As words at even and at odd places: five times as fast as `bytes.count`, which costs a
    # twentieth of the decoding.
    even = np.frombuffer(jpeg, "<u2", len(jpeg) // 2)
    odd = np.frombuffer(jpeg, "<u2", (len(jpeg) - 1) // 2, offset=1)
    return int(np.count_nonzero(even == _SCAN_WORD) + np.count_nonzero(odd == _SCAN_WORD))


def _walk_scans(jpeg: bytes, first_scan: int, max_scans: int) -> int:
    """Count the scans up to the end of the picture."""
    n_scans, at = 1, first_scan
    for _ in range(MAX_SEGMENTS):
        found = _MARKER_AFTER_DATA.search(jpeg, at)
        if found is None or found[1][0] == _END_OF_IMAGE:
            return n_scans
        n_scans += found[1][0] == _START_OF_SCAN
        if n_scans > max_scans:
            raise TooManyScansError(max_scans)
        at = found.end() + int.from_bytes(jpeg[found.end() : found.end() + 2])
    raise TooManySegmentsError("JPEG", MAX_SEGMENTS)
