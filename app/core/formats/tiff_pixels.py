"""Decode the strips or tiles of a TIFF whose layout was read, and give their samples a meaning.

libtiff, as part of Pillow, only decompresses: it is shown rows of bytes, each batch of strips or
tiles as a greyscale image of its own. What the bytes mean is decided here, from tags that
`tiff_samples` has checked, so that no decoder has a say in it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.core.formats import tiff_tags as t
from app.core.formats.libtiff import decompress
from app.core.formats.tiff_jpeg import decode_jpeg_piece
from app.core.formats.tiff_layout import Piece, TiffLayout
from app.core.formats.tiff_samples import Alpha, Samples
from app.core.formats.zlib_data import require_checksum
from app.core.tile_errors import PixelFormatError

_BATCH_BYTES: Final = 8 * 1024**2
"""Uncompressed. Many small pieces are decompressed at once, and a large one in parts."""

Rows = NDArray[np.uint8]
"""`[rows, width of a piece, interleaved samples]`, 0 to 255."""
Block = tuple[Piece, int, Rows, bool]
"""A piece, the first of its rows, these rows, and whether a decoder warned of damage in them."""


def decode_tiff(tiff: bytes, layout: TiffLayout) -> tuple[Image.Image, bool]:
    """Decode the image that a layout describes.

    Args:
        tiff: the file.
        layout: of that file.

    Returns:
        An image of mode L, LA, RGB, RGBA or CMYK, not turned by the orientation. Of 16-bit samples
        the high byte is taken, which is exact for 8-bit values multiplied by 257. And whether a
        decoder warned of damage, as that of JPEG does.

    Raises:
        PixelFormatError: pixels that readers disagree about.
        OSError, ValueError, SyntaxError: damaged data, as Pillow reports it.
        zlib.error: damaged Deflate data of which Pillow says nothing.
    """
    samples = layout.samples
    pixels = np.empty((layout.height_px, layout.width_px, samples.n_samples), np.uint8)
    blocks = _jpeg_blocks if samples.compression == t.JPEG else _raw_blocks
    is_damaged = False
    for piece, first_row, rows, has_warned in blocks(tiff, layout):
        is_damaged |= has_warned
        planes = slice(piece.plane, piece.plane + samples.n_interleaved)
        target = pixels[piece.top + first_row :, piece.left :, planes]
        n_rows, n_columns = min(len(target), len(rows)), min(target.shape[1], rows.shape[1])
        target[:n_rows, :n_columns] = rows[:n_rows, :n_columns]
    return _as_image(pixels, samples), is_damaged


def _jpeg_blocks(tiff: bytes, layout: TiffLayout) -> Iterator[Block]:
    for piece in layout.pieces:
        n_rows = min(layout.piece_height_px, layout.height_px - piece.top)
        size = (layout.piece_width_px, n_rows)
        stream = tiff[piece.offset : piece.offset + piece.n_bytes]
        yield piece, 0, *decode_jpeg_piece(stream, size, layout.samples)


def _raw_blocks(tiff: bytes, layout: TiffLayout) -> Iterator[Block]:
    piece_rows = layout.piece_height_px
    has_checksums = layout.samples.compression in (t.DEFLATE, t.OLD_DEFLATE)
    n_batch = max(1, _BATCH_BYTES // (piece_rows * layout.row_bytes))
    for first in range(0, len(layout.pieces), n_batch):
        for batch in _one_plane_each(layout.pieces[first : first + n_batch]):
            checksums = [1] * len(batch)  # Adler-32 of nothing
            for top, block in _decompressed(tiff, layout, batch):
                rows = _eight_bits(block, layout.samples)
                for index, row, part in _parts(top, len(rows), piece_rows):
                    if has_checksums:
                        checksums[index] = zlib.adler32(block[part].data, checksums[index])
                    yield batch[index], row, rows[part], False
            for piece, checksum in zip(batch if has_checksums else (), checksums, strict=False):
                stream = tiff[piece.offset : piece.offset + piece.n_bytes]
                require_checksum(stream, checksum, piece_rows * layout.row_bytes)


def _parts(top: int, n_rows: int, piece_rows: int) -> Iterator[tuple[int, int, slice]]:
    """Which piece, which of its rows, and which of the rows of a block."""
    at = 0
    while at < n_rows:
        index, row = divmod(top + at, piece_rows)
        end = min(n_rows, at + piece_rows - row)
        yield index, row, slice(at, end)
        at = end


def _one_plane_each(pieces: tuple[Piece, ...]) -> Iterator[list[Piece]]:
    """Split a batch behind each plane, whose last strip may be short."""
    for plane in sorted({piece.plane for piece in pieces}):
        yield [piece for piece in pieces if piece.plane == plane]


def _decompressed(
    tiff: bytes, layout: TiffLayout, batch: list[Piece]
) -> Iterator[tuple[int, Rows]]:
    """First row and rows of bytes of the pieces of a batch, one below the other."""
    parts = [tiff[piece.offset : piece.offset + piece.n_bytes] for piece in batch]
    n_rows = [layout.n_rows(piece) for piece in batch]
    if layout.samples.compression == t.NO_COMPRESSION:
        yield 0, np.frombuffer(b"".join(parts), np.uint8).reshape(sum(n_rows), layout.row_bytes)
    else:
        yield from decompress(parts, layout, sum(n_rows), _BATCH_BYTES)


def _eight_bits(block: NDArray[np.uint8], samples: Samples) -> Rows:
    """Rows of bytes, `[rows, bytes]`, as samples of 8 bits."""
    dtype = np.dtype(np.uint8 if samples.n_bytes == 1 else f"{samples.byte_order}u2")
    rows = block.view(dtype).reshape(len(block), -1, samples.n_interleaved)
    if samples.has_predictor:
        rows = np.cumsum(rows, axis=1, dtype=dtype.newbyteorder("="))  # wraps, as it should
    if samples.n_bytes == 1:
        return rows
    return (rows >> 8).astype(np.uint8)


def _as_image(pixels: NDArray[np.uint8], samples: Samples) -> Image.Image:
    """`[height, width, samples]` as an image."""
    if samples.alpha is Alpha.UNSPECIFIED:
        # Some readers ignore such a sample and others blend with it. Only if it is opaque, all of
        # them show the same.
        if pixels[..., -1].min() < 255:
            raise PixelFormatError("TIFF with an extra channel whose meaning is not specified")
        pixels = pixels[..., :-1]
    elif samples.alpha is Alpha.ASSOCIATED:
        opacity = pixels[..., -1:]
        pixels = np.minimum(pixels[..., :-1], opacity) + (255 - opacity)  # over white
    if samples.photometric == t.WHITE_IS_ZERO:
        pixels = 255 - pixels
    elif samples.photometric == t.PALETTE:
        palette = np.array(samples.palette, np.uint16).reshape(3, 256).T >> 8
        pixels = palette.astype(np.uint8)[pixels[..., 0]]
    height_px, width_px, n_channels = pixels.shape
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[n_channels]
    if samples.photometric == t.CMYK:
        mode = "CMYK"
    packed = np.ascontiguousarray(pixels)
    return Image.frombuffer(mode, (width_px, height_px), packed, "raw", mode, 0, 1)
