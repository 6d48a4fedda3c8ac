"""JPEG: how many scans there are, and whether they are all there (ITU-T T.81)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from app.core.formats.jpeg_segments import END_OF_IMAGE, START_OF_SCAN
from app.core.tile_errors import CorruptTileError, TooManyScansError, TooManySegmentsError

MAX_SCANS: Final = 100
"""Ordinary progressive JPEGs have about 10. A scan of 30 bytes can cost a pass over all pixels."""
MAX_SCANNED_PIXELS: Final = 400 * 1024**2
"""Scans times pixels: about two seconds of Huffman decoding; 10 scans of 4096 x 4096 px are 160 Mi.
"""
MAX_SEGMENTS: Final = 1024
"""Between scans."""

_SCAN_WORD: Final = 0xDAFF  # the bytes 0xFF 0xDA, read as a little-endian word
_END: Final = bytes([0xFF, END_OF_IMAGE])
_N_COEFFICIENTS: Final = 64
# Stuffed zeros, restart markers and fill bytes belong to the data of a scan. Decoders skip markers
# below 0xC0 there, which have no length.
_MARKER_AFTER_DATA: Final = re.compile(rb"\xff([\xc0-\xcf\xd8-\xfe])")


def require_few_scans(jpeg: bytes, first_scan: int, n_pixels: int) -> int:
    """Check the number of scans, and return an upper bound of it.

    Args:
        jpeg: a whole file.
        first_scan: where the entropy-coded data of the first scan begin.
        n_pixels: width times height.

    Raises:
        TooManyScansError: more than `MAX_SCANS`, or than the pixels allow.
        TooManySegmentsError: more than `MAX_SEGMENTS` between scans.
    """
    max_scans = max(1, min(MAX_SCANS, MAX_SCANNED_PIXELS // max(1, n_pixels)))
    # Entropy-coded data cannot contain the marker, but a preview or a video that a camera appends
    # can. So a file that seems to have too many scans is walked.
    n_scans = _count_scan_markers(jpeg)
    if n_scans > max_scans:
        n_scans = 1
        for _ in _scan_headers(jpeg, first_scan):
            n_scans += 1
            if n_scans > max_scans:
                raise TooManyScansError(max_scans)
    return n_scans


def missing_end(jpeg: bytes, scan_at: int, component_ids: Sequence[int]) -> bytes:
    """The end marker if the file lacks it, else nothing.

    Without it, a decoder cannot know whether a file was cut between two scans; so each coefficient
    of each component must have come.

    Args:
        jpeg: a whole file.
        scan_at: the marker of the first scan.
        component_ids: of the frame.

    Raises:
        CorruptTileError: there is no end marker, and scans are missing.
        TooManySegmentsError: more than `MAX_SEGMENTS` between scans.
    """
    if jpeg.endswith(_END) or jpeg.rfind(_END, scan_at) >= 0:
        return b""
    missing = {(id_, k) for id_ in component_ids for k in range(_N_COEFFICIENTS)}
    for at in _scan_headers(jpeg, scan_at):
        n_components = jpeg[at + 4 : at + 5]
        if not n_components:
            break
        ids_at, tail_at = at + 5, at + 5 + 2 * n_components[0]
        tail = jpeg[tail_at : tail_at + 3]
        if len(tail) == 3 and not tail[2] & 0x0F:  # the last bit of these coefficients
            ids = jpeg[ids_at:tail_at:2]
            missing -= {(id_, k) for id_ in ids for k in range(tail[0], tail[1] + 1)}
    if missing:
        raise CorruptTileError("JPEG")
    return _END


def _count_scan_markers(jpeg: bytes) -> int:
    # As words at even and at odd places: five times as fast as `bytes.count`, which costs a
    # twentieth of the decoding.
    even = np.frombuffer(jpeg, "<u2", len(jpeg) // 2)
    odd = np.frombuffer(jpeg, "<u2", (len(jpeg) - 1) // 2, offset=1)
    return int(np.count_nonzero(even == _SCAN_WORD) + np.count_nonzero(odd == _SCAN_WORD))


def _scan_headers(jpeg: bytes, at: int) -> Iterator[int]:
    """The markers of the scans at and behind `at`, up to the end of the picture."""
    for _ in range(MAX_SEGMENTS):
        found = _MARKER_AFTER_DATA.search(jpeg, at)
        if found is None or found[1][0] == END_OF_IMAGE:
            return
        if found[1][0] == START_OF_SCAN:
            yield found.start()
        at = found.end() + int.from_bytes(jpeg[found.end() : found.end() + 2])
    raise TooManySegmentsError("JPEG", MAX_SEGMENTS)
