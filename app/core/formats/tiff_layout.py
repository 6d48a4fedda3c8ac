"""Where the strips or tiles of a TIFF lie, and how much they may decode to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from app.core.formats import tiff_tags as t
from app.core.formats.ifd import Tags
from app.core.formats.tiff_samples import Samples, one
from app.core.tile_errors import (
    CorruptTileError,
    DecodeBudgetError,
    PixelFormatError,
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


@dataclass(frozen=True, slots=True)
class Piece:
    """A strip or tile: its data in the file, and where its pixels belong; it may overhang there."""

    offset: int
    n_bytes: int
    plane: int
    top: int
    left: int


@dataclass(frozen=True, slots=True)
class TiffLayout:
    """What `app.core.formats.tiff_pixels` needs in order to decode an image.

    Attributes:
        width_px, height_px: of the image.
        samples: what the numbers of a pixel mean.
        piece_width_px, piece_height_px: of a strip or tile. The last strip may have fewer rows.
        pieces: all strips or tiles, plane by plane and row by row.
    """

    width_px: int
    height_px: int
    samples: Samples
    is_tiled: bool
    piece_width_px: int
    piece_height_px: int
    pieces: tuple[Piece, ...]

    @property
    def row_bytes(self) -> int:
        """Uncompressed size of one row of a piece, in bytes."""
        return self.piece_width_px * self.samples.n_interleaved * self.samples.n_bytes

    def n_rows(self, piece: Piece) -> int:
        """Rows that the data of a piece hold."""
        if self.is_tiled:
            return self.piece_height_px
        return min(self.piece_height_px, self.height_px - piece.top)


def read_layout(tags: Tags, size: tuple[int, int], samples: Samples, n_file: int) -> TiffLayout:
    """Read where the strips or tiles are, and bound what they decode to.

    Args:
        tags: of `tiff_tags.OF_PIECES`.
        size: width and height of the image.
        samples: what a pixel consists of.
        n_file: bytes of the file.

    Raises:
        CorruptTileError: a strip or tile that the file does not hold.
        PixelFormatError: a strip or tile that was never written.
        TooManySegmentsError: more than `MAX_PIECES`.
        DecodeBudgetError: they decode to many times the image, or share data.
    """
    width_px, height_px = size
    is_tiled = t.TILE_WIDTH in tags or t.TILE_OFFSETS in tags
    piece_width, piece_height = width_px, height_px
    if is_tiled:
        piece_width, piece_height = _positive(tags, t.TILE_WIDTH), _positive(tags, t.TILE_HEIGHT)
    else:
        piece_height = min(_positive(tags, t.ROWS_PER_STRIP, height_px), height_px)
    across, down = -(-width_px // piece_width), -(-height_px // piece_height)
    n_pieces = across * down * samples.n_planes
    if n_pieces > MAX_PIECES:
        raise TooManySegmentsError("TIFF", MAX_PIECES)
    n_decoded = across * piece_width * down * piece_height
    if n_decoded > max(MAX_PADDING * width_px * height_px, _PADDING_FLOOR_PIXELS):
        raise DecodeBudgetError("its tiles are many times larger than the image")
    layout = TiffLayout(width_px, height_px, samples, is_tiled, piece_width, piece_height, ())
    places = [
        Piece(0, 0, plane, top, left)
        for plane in range(samples.n_planes)
        for top in range(0, height_px, piece_height)
        for left in range(0, width_px, piece_width)
    ]
    return replace(layout, pieces=_with_data(places, layout, tags, n_file))


def _positive(tags: Tags, tag: int, default: int | None = None) -> int:
    value = one(tags, tag, default)
    if value < 1:
        raise CorruptTileError("TIFF")
    return value


def _with_data(
    places: list[Piece], layout: TiffLayout, tags: Tags, n_file: int
) -> tuple[Piece, ...]:
    """The pieces with the places of their data in the file."""
    is_raw = layout.samples.compression == t.NO_COMPRESSION
    name = "tiles" if layout.is_tiled else "strips"
    raw_bytes = [layout.n_rows(piece) * layout.row_bytes for piece in places]
    offsets = tags.get(t.TILE_OFFSETS if layout.is_tiled else t.STRIP_OFFSETS, ())
    counts = tags.get(t.TILE_COUNTS if layout.is_tiled else t.STRIP_COUNTS)
    if counts is None:
        if not is_raw:
            raise PixelFormatError(f"TIFF whose compressed {name} have no byte counts")
        counts = tuple(raw_bytes)
    data = list(zip(offsets, counts, raw_bytes, strict=False))
    n_missing = sum(at == 0 or n == 0 for at, n, _ in data)
    if n_missing:
        raise PixelFormatError(f"TIFF that lacks {n_missing} of its {len(places)} {name}")
    if len(data) < len(places) or any(is_raw and n < needed for _, n, needed in data):
        raise CorruptTileError("TIFF")
    read = [(at, needed if is_raw else n) for at, n, needed in data]
    if any(at + n > n_file for at, n in read):
        raise CorruptTileError("TIFF")
    if sum(n for _, n in read) > max(_MAX_REREAD * n_file, _REREAD_FLOOR_BYTES):
        raise DecodeBudgetError("its strips or tiles share their data")
    return tuple(
        replace(piece, offset=at, n_bytes=n) for piece, (at, n) in zip(places, read, strict=True)
    )
