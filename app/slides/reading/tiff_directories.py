"""The directories of a tiled TIFF of any size, without loading the file (TIFF 6.0, BigTIFF).

A library for TIFF would do as well, but the one for Python also reads what private tags of vendors
say, some of which state how many bytes to load, and logs what it dislikes with the file's name.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.formats import tiff_tags as t
from app.core.slide_errors import CorruptSlideError, SlideFormatError

DESCRIPTION: Final = 270
MAX_DIRECTORIES: Final = 256
"""Slides have about ten; stacks of focal planes or channels have more."""

_MAX_SUB_DIRECTORIES: Final = 32
_MAX_TAGS: Final = 4096
_MAX_VALUE_BYTES: Final = 16 * 1024**2
"""Offsets of two million tiles; a scan of 16 gigapixels has 250,000."""
_MAGIC: Final = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}
_CODES_BY_TYPE: Final = {1: "u1", 2: "u1", 3: "u2", 4: "u4", 7: "u1", 13: "u4", 16: "u8", 18: "u8"}
_WANTED: Final = frozenset({
    *(t.WIDTH, t.HEIGHT, t.BITS, t.COMPRESSION, t.PHOTOMETRIC, DESCRIPTION, t.SAMPLES_PER_PIXEL),
    *(t.PLANAR, t.TILE_WIDTH, t.TILE_HEIGHT, t.TILE_OFFSETS, t.TILE_COUNTS, t.SUB_IFDS),
    *(t.JPEG_TABLES,),
})  # fmt: skip
_NONE: Final = np.empty(0, np.uint64)
_DAMAGED: Final = "a directory of the TIFF is damaged."


@dataclass(frozen=True, slots=True)
class Directory:
    """One image of a TIFF: the values of the tags that are used here."""

    tags: dict[int, NDArray[np.uint64]]

    def one(self, tag: int, default: int = 0) -> int:
        """The first value of a tag; the default if the tag is missing or empty."""
        values = self.tags.get(tag)
        return int(values[0]) if values is not None and values.size else default

    def bytes_of(self, tag: int) -> bytes:
        """The value of a tag of bytes; empty if it is missing."""
        return self.tags.get(tag, _NONE).astype(np.uint8).tobytes()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.one(t.WIDTH), self.one(t.HEIGHT)

    @property
    def is_tiled(self) -> bool:
        """Whether it is cut into tiles, not strips."""
        return t.TILE_OFFSETS in self.tags


def is_tiff(head: bytes) -> bool:
    """Whether a file that begins with these bytes claims to be a TIFF."""
    return head[:4] in _MAGIC


def read_directories(file: int) -> tuple[list[Directory], list[Directory]]:
    """Read the directories of a TIFF.

    Args:
        file: a descriptor, of which the position is not used.

    Returns:
        Those of the chain, in its order; and those below the first one (SubIFDs).

    Raises:
        CorruptSlideError: a directory is damaged, or the chain is a loop.
        SlideFormatError: there are more than `MAX_DIRECTORIES`.
    """
    reader = _Reader(file)
    chain, seen, at = [], set[int](), reader.first()
    while at:
        if at in seen:
            raise CorruptSlideError("the directories of the TIFF form a loop.")
        if len(seen) == MAX_DIRECTORIES:
            raise SlideFormatError(f"it holds more than {MAX_DIRECTORIES} images.")
        seen.add(at)
        directory, at = reader.directory(at)
        chain.append(directory)
    below = chain[0].tags.get(t.SUB_IFDS, _NONE) if chain else _NONE
    if len(below) > _MAX_SUB_DIRECTORIES:
        raise SlideFormatError(f"it has more than {_MAX_SUB_DIRECTORIES} levels.")
    return chain, [reader.directory(int(at))[0] for at in below if at]


class _Reader:
    def __init__(self, file: int) -> None:
        self._file = file
        head = os.pread(file, 4, 0)
        if head not in _MAGIC:
            raise CorruptSlideError("it is no TIFF.")
        self._order, self._is_big = _MAGIC[head], b"+" in head

    def first(self) -> int:
        """Where the first directory begins."""
        return self._integer(8, 8) if self._is_big else self._integer(4, 4)

    def directory(self, at: int) -> tuple[Directory, int]:
        """A directory, and where the next one begins; 0 if it is the last."""
        word, n_count_bytes = ("Q", 8) if self._is_big else ("I", 2)
        entry = struct.Struct(f"{self._order}HH{word}{8 if self._is_big else 4}s")
        n_tags = self._integer(at, n_count_bytes)
        if n_tags > _MAX_TAGS:
            raise CorruptSlideError(_DAMAGED)
        entries = self._bytes(at + n_count_bytes, n_tags * entry.size)
        tags: dict[int, NDArray[np.uint64]] = {}
        for tag, kind, n_values, value in entry.iter_unpack(entries):
            if tag not in _WANTED:
                continue
            if tag in tags:  # decoders disagree about which one counts
                raise CorruptSlideError(_DAMAGED)
            tags[tag] = self._values(kind, n_values, value)
        next_at = self._integer(at + n_count_bytes + len(entries), struct.calcsize("<" + word))
        return Directory(tags), next_at

    def _values(self, kind: int, n_values: int, value: bytes) -> NDArray[np.uint64]:
        if kind not in _CODES_BY_TYPE:
            raise CorruptSlideError(_DAMAGED)
        dtype = np.dtype(self._order + _CODES_BY_TYPE[kind])
        n_bytes = n_values * dtype.itemsize
        if n_bytes > _MAX_VALUE_BYTES:
            raise CorruptSlideError(_DAMAGED)
        if n_bytes > len(value):
            at = int.from_bytes(value, "little" if self._order == "<" else "big")
            value = self._bytes(at, n_bytes)
        return np.frombuffer(value[:n_bytes], dtype).astype(np.uint64)

    def _integer(self, at: int, n_bytes: int) -> int:
        return int.from_bytes(self._bytes(at, n_bytes), "little" if self._order == "<" else "big")

    def _bytes(self, at: int, n_bytes: int) -> bytes:
        try:
            found = os.pread(self._file, n_bytes, at)
        except (OSError, OverflowError):  # an offset that no file can have
            raise CorruptSlideError(_DAMAGED) from None
        if len(found) != n_bytes:
            raise CorruptSlideError("the file ends before its directories; it may be incomplete.")
        return found
