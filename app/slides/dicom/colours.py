"""Let a JPEG frame say itself what its components mean, where only the DICOM header does."""

from __future__ import annotations

import struct
from typing import Final

from app.core.formats.jpeg_frame import FRAMES
from app.core.formats.jpeg_segments import APP0, APP14, START_OF_SCAN, next_segment

_START: Final = b"\xff\xd8"
_MAX_SEGMENTS: Final = 64
_UNTRANSFORMED: Final = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0"
"""An Adobe segment which says that the components are red, green and blue."""


def with_stated_colours(jpeg: bytes, photometric: str) -> bytes:
    """Put an Adobe segment into a JPEG of RGB, which decoders would otherwise take for YCbCr.

    A stream that says itself what it holds is left alone, even if the header contradicts it: some
    writers state RGB over YCbCr, and decoders follow the stream. Subsampled components are
    YCbCr in any case.

    Args:
        jpeg: a frame.
        photometric: of the DICOM header.

    Raises:
        CorruptTileError: its segments do not follow each other.
    """
    if photometric != "RGB" or not jpeg.startswith(_START):
        return jpeg
    at = len(_START)
    for _ in range(_MAX_SEGMENTS):
        marker, start, end, at = next_segment(jpeg, at)
        data = jpeg[start + 4 : end]
        is_jfif = marker == APP0 and data.startswith(b"JFIF\0")
        if is_jfif or (marker == APP14 and data.startswith(b"Adobe")):
            return jpeg
        if marker in FRAMES and _is_subsampled(data):
            return jpeg
        if marker == START_OF_SCAN:
            return _START + _UNTRANSFORMED + jpeg[len(_START) :]
    return jpeg


def _is_subsampled(frame: bytes) -> bool:
    """Whether the components of a frame header have different sampling factors."""
    try:
        n_components = frame[5]
        factors = {struct.unpack_from("xB", frame, 6 + 3 * i) for i in range(n_components)}
    except (IndexError, struct.error):
        return False  # the decoder refuses it
    return len(factors) > 1
