"""Where the frames of a DICOM image lie in its file, and their bytes (PS3.5, annex A.4)."""

from __future__ import annotations

import os
import struct
from array import array
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from app.core.slide_errors import CorruptSlideError
from app.slides.dicom.elements import ITEM, SEQUENCE_END, UNDEFINED_LENGTH, PixelData
from app.slides.dicom.header import ImageHeader

_ITEM_HEADER: Final = struct.Struct("<HHL")
_MAX_FRAGMENTS: Final = 1024
"""Maximum number of fragments in a frame."""
_STARTS: Final = (b"\xff\xd8", b"\xff\x4f")
"""First bytes of a JPEG and of a JPEG 2000 code stream."""
_INCOMPLETE: Final = "the file ends before its last frame; it was not transferred completely."


class Frames(Protocol):
    """The frames of one file; several threads may read at once."""

    def read(self, index: int) -> bytes:
        """The bytes of a frame, from 0.

        Raises:
            CorruptSlideError: they are not where the file says.
        """


def locate_frames(
    descriptor: int, header: ImageHeader, pixels: PixelData, max_encoded_bytes: int
) -> Frames:
    """Find the frames of a file.

    Args:
        descriptor: of the open file; only `os.pread` is called.
        header: of the file.
        pixels: where they begin.
        max_encoded_bytes: size of a frame.

    Raises:
        CorruptSlideError: the file does not hold the frames that it states.
    """
    n_bytes = os.fstat(descriptor).st_size
    if (pixels.n_bytes is None) != (header.encoding != "raw"):
        raise CorruptSlideError("its pixels are not encoded as its header says.")
    if pixels.n_bytes is not None:
        return _native_frames(descriptor, header, pixels, n_bytes)
    table_bytes = _item_bytes(descriptor, pixels.at)
    first = pixels.at + _ITEM_HEADER.size + table_bytes
    if first > n_bytes:
        raise CorruptSlideError(_INCOMPLETE)
    if pixels.offsets:
        offsets = np.frombuffer(pixels.offsets, "<u8")
    elif table_bytes == 4 * header.n_frames:
        offsets = np.frombuffer(os.pread(descriptor, table_bytes, first - table_bytes), "<u4")
    elif table_bytes:
        raise CorruptSlideError(
            f"its table of offsets has {table_bytes} bytes, not 4 for each of "
            f"{header.n_frames} frames."
        )
    else:
        return _Encapsulated(
            descriptor, _scan(descriptor, first, n_bytes, header.n_frames), max_encoded_bytes
        )
    starts = first + _checked(offsets, n_bytes)
    end = _end_of_fragments(descriptor, int(starts[-1]), n_bytes)
    return _Encapsulated(descriptor, np.append(starts, end), max_encoded_bytes)


class _Native:
    def __init__(self, descriptor: int, at: int, frame_bytes: int) -> None:
        self._descriptor, self._at, self._frame_bytes = descriptor, at, frame_bytes

    def read(self, index: int) -> bytes:
        frame = os.pread(self._descriptor, self._frame_bytes, self._at + index * self._frame_bytes)
        if len(frame) < self._frame_bytes:
            raise CorruptSlideError(_INCOMPLETE)
        return frame


class _Encapsulated:
    def __init__(self, descriptor: int, bounds: NDArray[np.int64], max_encoded_bytes: int) -> None:
        """`bounds` are the starts of the frames' first fragments, and the end of the last."""
        self._descriptor, self._bounds = descriptor, bounds
        self._max_bytes = max_encoded_bytes

    def read(self, index: int) -> bytes:
        start, end = int(self._bounds[index]), int(self._bounds[index + 1])
        if end - start > self._max_bytes:
            raise CorruptSlideError(
                f"a frame has {end - start:,} bytes; at most {self._max_bytes:,} are read."
            )
        content = os.pread(self._descriptor, end - start, start)
        fragments: list[bytes] = []
        at = 0
        while at < len(content) and len(fragments) < _MAX_FRAGMENTS:
            tag, length = _tag_and_length(content[at : at + _ITEM_HEADER.size])
            at += _ITEM_HEADER.size
            if tag != ITEM or at + length > len(content):
                raise CorruptSlideError("a frame is not where the file says.")
            fragments.append(content[at : at + length])
            at += length
        if at < end - start:
            raise CorruptSlideError("a frame is not where the file says.")
        return fragments[0] if len(fragments) == 1 else b"".join(fragments)


def _native_frames(descriptor: int, header: ImageHeader, pixels: PixelData, n_bytes: int) -> Frames:
    columns, rows = header.tile_size
    frame_bytes = 3 * columns * rows
    needed = header.n_frames * frame_bytes
    if pixels.n_bytes is None or needed > pixels.n_bytes:
        raise CorruptSlideError(
            f"it states {header.n_frames} frames of {columns} x {rows} px and holds "
            f"{pixels.n_bytes} bytes of them."
        )
    if pixels.at + needed > n_bytes:
        raise CorruptSlideError(_INCOMPLETE)
    return _Native(descriptor, pixels.at, frame_bytes)


def _checked(offsets: NDArray[np.unsignedinteger], n_bytes: int) -> NDArray[np.int64]:
    """Offsets that grow from 0 within the file."""
    if offsets[0] != 0 or int(offsets.max()) >= n_bytes or (offsets[1:] <= offsets[:-1]).any():
        raise CorruptSlideError("its table of offsets leads nowhere.")
    return offsets.astype(np.int64)


def _scan(descriptor: int, at: int, n_bytes: int, n_frames: int) -> NDArray[np.int64]:
    """Bounds of the frames of a file without a table, by the items themselves."""
    starts, frame_starts = array("q"), array("q")
    while True:
        content = os.pread(descriptor, _ITEM_HEADER.size + 2, at)
        tag, length = _tag_and_length(content[: _ITEM_HEADER.size])
        if tag == SEQUENCE_END:
            break
        if tag != ITEM or length == UNDEFINED_LENGTH or len(starts) > _MAX_FRAGMENTS * n_frames:
            raise CorruptSlideError("its frames do not follow each other as DICOM's rules say.")
        starts.append(at)
        if content[_ITEM_HEADER.size :] in _STARTS:
            frame_starts.append(at)
        at += _ITEM_HEADER.size + length
        if at > n_bytes:
            raise CorruptSlideError(_INCOMPLETE)
    if len(starts) == n_frames:
        frame_starts = starts
    elif n_frames == 1:
        frame_starts = starts[:1]
    if len(frame_starts) != n_frames:
        raise CorruptSlideError(f"it states {n_frames} frames and holds {len(frame_starts)}.")
    return np.append(np.frombuffer(frame_starts, np.int64), at)


def _end_of_fragments(descriptor: int, at: int, n_bytes: int) -> int:
    """Where the fragments of the last frame end."""
    for _ in range(_MAX_FRAGMENTS):
        tag, length = _tag_and_length(os.pread(descriptor, _ITEM_HEADER.size, at))
        if tag == SEQUENCE_END:
            return at
        if tag != ITEM or length == UNDEFINED_LENGTH:
            raise CorruptSlideError("a frame is not where the file says.")
        at += _ITEM_HEADER.size + length
        if at > n_bytes:
            raise CorruptSlideError(_INCOMPLETE)
    raise CorruptSlideError("its frames do not follow each other as DICOM's rules say.")


def _item_bytes(descriptor: int, at: int) -> int:
    """Length of the first item, which is the basic offset table."""
    tag, length = _tag_and_length(os.pread(descriptor, _ITEM_HEADER.size, at))
    if tag != ITEM or length == UNDEFINED_LENGTH:
        raise CorruptSlideError("its frames do not follow each other as DICOM's rules say.")
    return length


def _tag_and_length(content: bytes) -> tuple[int, int]:
    if len(content) < _ITEM_HEADER.size:
        raise CorruptSlideError(_INCOMPLETE)
    group, number, length = _ITEM_HEADER.unpack(content)
    return group << 16 | number, length
