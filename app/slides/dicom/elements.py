"""The part of a DICOM file behind its header: the places of frames, and where the pixels begin.

pydicom makes four objects for each frame of a sparse slide, half a gigabyte for 100,000 frames.
This walks over the elements instead and keeps two numbers a frame (DICOM PS3.5, section 7).
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from app.core.slide_errors import CorruptSlideError

UNDEFINED_LENGTH: Final = 0xFFFFFFFF
ITEM: Final = 0xFFFEE000
SEQUENCE_END: Final = 0xFFFEE0DD
PER_FRAME_GROUPS: Final = 0x52009230
"""PerFrameFunctionalGroupsSequence, where pydicom's part ends."""

_ITEM_END: Final = 0xFFFEE00D
_DELIMITERS: Final = frozenset({ITEM, _ITEM_END, SEQUENCE_END})
_PLANE_POSITION: Final = 0x0048021A
_COLUMN_POSITION: Final = 0x0048021E
_ROW_POSITION: Final = 0x0048021F
_OFFSETS: Final = 0x7FE00001
_LENGTHS: Final = 0x7FE00002
_PIXEL_DATA: Final = 0x7FE00010
_LONG_VRS: Final = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
_MAX_DEPTH: Final = 16
_TAG_AND_LENGTH: Final = struct.Struct("<HHL")
_TAG_AND_VR: Final = struct.Struct("<HH2sH")
_LONG: Final = struct.Struct("<L")
_POSITION: Final = struct.Struct("<l")
_DAMAGED: Final = "its data elements do not follow each other as DICOM's rules say."


@dataclass(slots=True)
class PixelData:
    """Where the pixels of a file are.

    Attributes:
        at: offset in the file of the first byte behind the element's length.
        n_bytes: of native pixels; None if they are encapsulated.
        positions: column and row of each frame's upper left pixel in the whole image, in pixels
            from 1, one after the other; empty if the file does not state them.
        offsets, lengths: the extended offset table; empty without one.
    """

    at: int = 0
    n_bytes: int | None = None
    positions: array[int] = field(default_factory=lambda: array("i"))
    offsets: bytes = b""
    lengths: bytes = b""


def find_pixel_data(
    file: BinaryIO, is_implicit: bool, n_frames: int, keeps_positions: bool
) -> PixelData:
    """Read from the per-frame functional groups up to the pixels.

    Args:
        file: at the first element that is not below `PER_FRAME_GROUPS`.
        is_implicit: whether elements are written without their value representation.
        n_frames: that the file states.
        keeps_positions: whether the places of the frames are needed.

    Raises:
        CorruptSlideError: there are no pixels, or more frames than `n_frames`, or the file is
            damaged before them.
    """
    walk = _Walk(file, n_frames, keeps_positions)
    while True:
        tag, length = walk.next_element(is_implicit)
        if tag == _PIXEL_DATA:
            walk.found.at = file.tell()
            walk.found.n_bytes = None if length == UNDEFINED_LENGTH else length
            return walk.found
        if tag > _PIXEL_DATA:
            raise CorruptSlideError("it holds no pixels.")
        if tag in (_OFFSETS, _LENGTHS):
            table = walk.table(length)
            if tag == _OFFSETS:
                walk.found.offsets = table
            else:
                walk.found.lengths = table
        else:
            walk.enter(tag, length, is_implicit, 0)


class _Walk:
    def __init__(self, file: BinaryIO, n_frames: int, keeps_positions: bool) -> None:
        self._read = file.read
        self._seek = file.seek
        self._n_frames = n_frames
        self._keeps_positions = keeps_positions
        self.found = PixelData()

    def next_element(self, is_implicit: bool) -> tuple[int, int]:
        """Tag and length of the next element, at whose value the file is then."""
        start = self._exactly(8)
        group, number, length = _TAG_AND_LENGTH.unpack(start)
        tag = group << 16 | number
        if is_implicit or tag in _DELIMITERS:
            return tag, length
        vr, length = _TAG_AND_VR.unpack(start)[2:]
        if vr in _LONG_VRS:
            (length,) = _LONG.unpack(self._exactly(4))
        return tag, length

    def table(self, length: int) -> bytes:
        """An offset table, which has 8 bytes a frame."""
        if length != 8 * self._n_frames:
            raise CorruptSlideError(
                f"its table of offsets has {length} bytes, not 8 for each of "
                f"{self._n_frames} frames."
            )
        return self._exactly(length)

    def enter(self, tag: int, length: int, is_implicit: bool, depth: int) -> None:
        """Read or skip an element's value."""
        is_on_the_way = self._keeps_positions and tag in (PER_FRAME_GROUPS, _PLANE_POSITION)
        if length == UNDEFINED_LENGTH or is_on_the_way:
            self._items(length, is_implicit, depth + 1)
        elif self._keeps_positions and tag in (_COLUMN_POSITION, _ROW_POSITION) and depth == 2:
            self._position(tag, length)
        else:
            self._seek(length, 1)

    def _items(self, length: int, is_implicit: bool, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise CorruptSlideError(_DAMAGED)
        left = length
        while left > 0:
            tag, item_length = self.next_element(is_implicit)
            if tag == SEQUENCE_END and length == UNDEFINED_LENGTH:
                return
            if tag != ITEM:
                raise CorruptSlideError(_DAMAGED)
            used = self._item(item_length, is_implicit, depth)
            if length != UNDEFINED_LENGTH:
                left -= 8 + used

    def _item(self, length: int, is_implicit: bool, depth: int) -> int:
        """Read an item's elements; the number of bytes behind its length."""
        start = self._tell()
        while length == UNDEFINED_LENGTH or self._tell() < start + length:
            tag, element_length = self.next_element(is_implicit)
            if tag == _ITEM_END:
                break
            self.enter(tag, element_length, is_implicit, depth)
        return self._tell() - start

    def _position(self, tag: int, length: int) -> None:
        positions = self.found.positions
        # The column comes first, since elements are sorted by tag.
        if length != 4 or len(positions) % 2 != (tag == _ROW_POSITION):
            raise CorruptSlideError("the place of a frame is damaged.")
        if len(positions) >= 2 * self._n_frames:
            raise CorruptSlideError(f"it states the places of more than {self._n_frames} frames.")
        positions.append(_POSITION.unpack(self._exactly(4))[0])

    def _tell(self) -> int:
        return self._seek(0, 1)

    def _exactly(self, n_bytes: int) -> bytes:
        read = self._read(n_bytes)
        if len(read) < n_bytes:
            raise CorruptSlideError("it ends before its pixels.")
        return read
