"""JPEG: the segments before the first scan (ITU-T T.81, JFIF 1.02, Adobe Technical Note 5116)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from app.core.formats.excerpt import Excerpt
from app.core.formats.ifd import read_orientation
from app.core.formats.jpeg_frame import (
    FRAMES,
    OTHER_FRAMES,
    Frame,
    read_frame,
    require_known_colours,
)
from app.core.formats.jpeg_scans import missing_end, require_few_scans
from app.core.formats.jpeg_segments import (
    APP0,
    APP1,
    APP14,
    START_OF_SCAN,
    is_metadata,
    next_segment,
)
from app.core.formats.structure import Structure
from app.core.tile_errors import CorruptTileError, PixelFormatError, TooManySegmentsError

PREDICTABLE_SCANNED_PIXELS: Final = 64 * 1024**2
"""A third of a second of Huffman decoding; 60 scans of 1024 x 1024 px."""
MAX_SEGMENTS: Final = 1024
"""Before the first scan. Ordinary files have 5 to 30; each costs a decoder a system call or a
callback, so that a file of empty segments takes seconds."""

_UPRIGHT: Final = 1
_START: Final = b"\xff\xd8"
_JFIF: Final = b"JFIF\0"
_KNOWN_JFIF: Final = b"JFIF\0\1"  # decoders warn of another major version
_MIN_JFIF_BYTES: Final = 14  # decoders ignore shorter ones
_JFIF_SEGMENT: Final = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
_ADOBE: Final = b"Adobe"
_ADOBE_TRANSFORM_AT: Final = 11
_EXIF: Final = b"Exif\0\0"


def read_jpeg(jpeg: bytes) -> Structure:
    """Read a JPEG's segments up to its first scan.

    Comments and application data go, except for JFIF and Adobe segments, which decide what the
    components mean. The orientation is read from the first EXIF segment. A missing end marker is
    added.

    Args:
        jpeg: begins with `FF D8`.

    Raises:
        CorruptTileError: the segments do not lead to a scan, or the file ends between two scans.
        PixelFormatError: an encoding that common decoders do not read, or that costs many times
            the usual: arithmetic coding, lossless, hierarchical, 12 bits; or components of which
            the file does not say what they mean.
        TooManySegmentsError: more than `MAX_SEGMENTS` before the first scan, or between scans.
        TooManyScansError: more than the limits of `jpeg_scans`.
    """
    excerpt = Excerpt(jpeg)
    stated = _Statements()
    at = len(_START)
    for _ in range(MAX_SEGMENTS):
        marker, start, end, next_at = next_segment(jpeg, at)
        keeps, instead = stated.read(marker, jpeg[start + 4 : end])
        if start > at:  # fill bytes
            excerpt.drop(at, start)
        if not keeps:
            excerpt.drop(start, next_at, instead)
        at = next_at
        if marker == START_OF_SCAN:
            break
    else:
        raise TooManySegmentsError("JPEG", MAX_SEGMENTS)
    frame = stated.frame
    if frame is None:
        raise CorruptTileError("JPEG")
    require_known_colours(frame, stated.has_jfif, stated.adobe_transform)
    n_pixels = frame.width_px * frame.height_px
    # In a sequential frame, decoders refuse a scan behind one that has all components.
    is_single = not frame.is_progressive and jpeg[start + 4] == len(frame.component_ids)
    n_scans = 1 if is_single else require_few_scans(jpeg, at, n_pixels)
    return Structure(
        "JPEG",
        frame.width_px,
        frame.height_px,
        stated.orientation or _UPRIGHT,
        excerpt.joined(len(jpeg)) + missing_end(jpeg, start, frame.component_ids),
        is_predictable=n_scans * n_pixels <= PREDICTABLE_SCANNED_PIXELS,
    )


@dataclass(slots=True)
class _Statements:
    """What the segments have said so far."""

    frame: Frame | None = None
    has_jfif: bool = False
    adobe_transform: int | None = None
    orientation: int = 0

    def read(self, marker: int, data: bytes) -> tuple[bool, bytes]:
        """Read one segment.

        Args:
            marker: says what it is.
            data: behind its length.

        Returns:
            Whether the pixels need the segment, and what to put in its place if not.
        """
        if marker in OTHER_FRAMES:
            raise PixelFormatError(OTHER_FRAMES[marker])
        if marker in FRAMES:
            if self.frame is not None:
                raise CorruptTileError("JPEG")
            self.frame = read_frame(marker, data)
        elif marker == APP0 and data.startswith(_JFIF) and not self.has_jfif:
            self.has_jfif = len(data) >= _MIN_JFIF_BYTES
            is_known = data.startswith(_KNOWN_JFIF)
            return self.has_jfif and is_known, _JFIF_SEGMENT if self.has_jfif else b""
        elif marker == APP14 and data.startswith(_ADOBE) and len(data) > _ADOBE_TRANSFORM_AT:
            self.adobe_transform = data[_ADOBE_TRANSFORM_AT]
            return True, b""
        elif marker == APP1 and data.startswith(_EXIF) and not self.orientation:
            self.orientation = read_orientation(data[len(_EXIF) :])
        return not is_metadata(marker), b""
