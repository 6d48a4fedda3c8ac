"""TIFF and BigTIFF: the first directory, and what its strips or tiles decode to (TIFF 6.0)."""

from __future__ import annotations

from typing import Final

from app.core.formats.ifd import Tags, TooManyValuesError, read_directory
from app.core.formats.structure import Structure
from app.core.tile_errors import (
    CorruptTileError,
    DecodeBudgetError,
    TooManyFramesError,
    TooManyPixelsError,
    TooManySegmentsError,
)

MAX_PIECES: Final = 16 * 1024
"""Strips or tiles. A strip a row of a 4096 px image makes 4,096; three planes of it 12,288."""
MAX_PADDING: Final = 4
"""Decoded pixels for each pixel of the image: tiles overhang the right and lower edges."""
_PADDING_FLOOR_PIXELS: Final = 4 * 1024 * 1024
"""A small image in four tiles of 1024 x 1024 px is ordinary."""
_MAX_REREAD: Final = 2
"""Encoded bytes that all pieces together read, for each byte of the file. Pieces that share
megabytes of data make a small file decode for minutes."""
_REREAD_FLOOR_BYTES: Final = 64 * 1024**2
"""Some writers store one blank tile and let all blank tiles share it. To read 64 MiB takes
milliseconds."""

_WIDTH, _HEIGHT = 256, 257
_SAMPLES_PER_PIXEL, _PLANAR = 277, 284
_STRIP_OFFSETS, _ROWS_PER_STRIP, _STRIP_COUNTS = 273, 278, 279
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = 322, 323, 324, 325
_READ: Final = frozenset({
    *(_WIDTH, _HEIGHT, _SAMPLES_PER_PIXEL, _PLANAR),
    *(_STRIP_OFFSETS, _ROWS_PER_STRIP, _STRIP_COUNTS),
    *(_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS),
})  # fmt: skip
_SEPARATE_PLANES: Final = 2


def read_tiff(tiff: bytes, max_pixels: int) -> Structure:
    """Read the first directory of a TIFF and bound what decoding it costs.

    Args:
        tiff: begins with a byte order mark.
        max_pixels: width times height; checked first, since a whole slide breaks other rules too.

    Raises:
        TooManyPixelsError: the image is larger.
        CorruptTileError: no directory, or strips and tiles that the file does not hold.
        TooManyFramesError: a second directory.
        TooManySegmentsError: more than `MAX_PIECES` strips or tiles.
        DecodeBudgetError: strips or tiles that decode to many times the image, or share data.
    """
    try:
        tags, has_next = read_directory(tiff, {_WIDTH, _HEIGHT}, MAX_PIECES)
        width_px, height_px = _one(tags, _WIDTH), _one(tags, _HEIGHT)
        if width_px * height_px > max_pixels:
            raise TooManyPixelsError(max_pixels)
        if has_next:
            raise TooManyFramesError(1)
        tags, _ = read_directory(tiff, _READ, MAX_PIECES)
        _require_bounded_pieces(tags, width_px, height_px, len(tiff))
    except TooManyValuesError:
        raise TooManySegmentsError("TIFF", MAX_PIECES) from None
    except (ValueError, KeyError) as error:
        raise CorruptTileError("TIFF") from error
    return Structure("TIFF", width_px, height_px, 1, tiff, is_predictable=False)


def _one(tags: Tags, tag: int, default: int | None = None) -> int:
    values = tags.get(tag) or (() if default is None else (default,))
    if len(values) != 1 or values[0] < 1:
        raise CorruptTileError("TIFF")
    return values[0]


def _require_bounded_pieces(tags: Tags, width_px: int, height_px: int, n_file_bytes: int) -> None:
    is_tiled = _TILE_WIDTH in tags or _TILE_OFFSETS in tags
    if is_tiled:
        piece_width, piece_height = _one(tags, _TILE_WIDTH), _one(tags, _TILE_HEIGHT)
    else:
        piece_width = width_px
        piece_height = min(_one(tags, _ROWS_PER_STRIP, height_px), height_px)
    offsets = tags[_TILE_OFFSETS if is_tiled else _STRIP_OFFSETS]
    counts = tags[_TILE_COUNTS if is_tiled else _STRIP_COUNTS]
    across, down = -(-width_px // piece_width), -(-height_px // piece_height)
    n_planes = 1
    if _one(tags, _PLANAR, 1) == _SEPARATE_PLANES:
        n_planes = _one(tags, _SAMPLES_PER_PIXEL, 1)
    n_pieces = across * down * n_planes
    if n_pieces > MAX_PIECES:
        raise TooManySegmentsError("TIFF", MAX_PIECES)
    n_decoded = across * piece_width * down * piece_height
    if n_decoded > max(MAX_PADDING * width_px * height_px, _PADDING_FLOOR_PIXELS):
        raise DecodeBudgetError("its tiles are many times larger than the image")
    pieces = list(zip(offsets, counts, strict=False))[:n_pieces]
    if len(pieces) < n_pieces or any(at + n > n_file_bytes for at, n in pieces):
        raise CorruptTileError("TIFF")
    if sum(n for _, n in pieces) > max(_MAX_REREAD * n_file_bytes, _REREAD_FLOOR_BYTES):
        raise DecodeBudgetError("its strips or tiles share their data")
