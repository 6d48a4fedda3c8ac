"""JPEG: where the segments before the first scan begin and end (ITU-T T.81, annex B)."""

from __future__ import annotations

import re
from typing import Final

from app.core.tile_errors import CorruptTileError

APP0, APP1, APP14, COMMENT = 0xE0, 0xE1, 0xEE, 0xFE
START_OF_SCAN: Final = 0xDA
END_OF_IMAGE: Final = 0xD9

_APP15: Final = 0xEF
_START_OF_IMAGE: Final = 0xD8
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
_FILL: Final = re.compile(rb"\xff+")
_MAX_CANDIDATES: Final = 64
_MAX_STEPS: Final = 1024
# Start of image, frame headers, tables, start of scan, application data, comment.
_HEADER_MARKER: Final = re.compile(rb"\xff[\xd8\xc0-\xcf\xda\xdb\xdd\xe0-\xef\xfe]")


def is_metadata(marker: int) -> bool:
    """Whether a segment is application data or a comment."""
    return APP0 <= marker <= _APP15 or marker == COMMENT


def next_segment(jpeg: bytes, at: int) -> tuple[int, int, int, int]:
    """Read one segment.

    Args:
        jpeg: a whole file.
        at: the segment, or fill bytes before it.

    Returns:
        Its marker, start and end, and where the next one begins: behind its end, unless it is
        metadata that state a wrong length.

    Raises:
        CorruptTileError: there is no segment, or it is longer than the file.
    """
    marker, start, end = _read_segment(jpeg, at)
    next_at = end
    if is_metadata(marker) and (end < start + 4 or jpeg[end : end + 1] != b"\xff"):
        next_at = _find_segment(jpeg, start + 4)
        end = min(max(end, start + 4), next_at)
    if end < start + 2 or end > len(jpeg):
        raise CorruptTileError("JPEG")
    return marker, start, end, next_at


def _read_segment(jpeg: bytes, at: int) -> tuple[int, int, int]:
    """Marker, start and stated end; the end is not checked."""
    fill = _FILL.match(jpeg, at)  # in place: a copy of the rest for each segment takes seconds
    if fill is None:
        raise CorruptTileError("JPEG")
    start = fill.end() - 1
    if start + 4 > len(jpeg):
        raise CorruptTileError("JPEG")
    marker = jpeg[start + 1]
    if marker in (0, _START_OF_IMAGE, END_OF_IMAGE):
        raise CorruptTileError("JPEG")
    if marker in _STANDALONE:
        return marker, start, start + 2
    return marker, start, start + 2 + int.from_bytes(jpeg[start + 2 : start + 4])


def _find_segment(jpeg: bytes, at: int) -> int:
    """Where segments that lead to a scan begin, behind metadata of a wrong length.

    Raises:
        CorruptTileError: nowhere, or an embedded preview begins first, which must not be taken for
            the picture.
    """
    for _ in range(_MAX_CANDIDATES):
        found = _HEADER_MARKER.search(jpeg, at)
        if found is None or found[0][1] == _START_OF_IMAGE:
            break
        if _leads_to_scan(jpeg, found.start()):
            return found.start()
        at = found.start() + 1
    raise CorruptTileError("JPEG")


def _leads_to_scan(jpeg: bytes, at: int) -> bool:
    for _ in range(_MAX_STEPS):
        try:
            marker, start, at = _read_segment(jpeg, at)
        except CorruptTileError:
            return False
        if marker not in _STANDALONE and at < start + 4:
            return False
        if marker == START_OF_SCAN:
            return at <= len(jpeg)
    return False
