"""libtiff, which Pillow contains, as a decompressor of bytes."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from app.core.formats import tiff_tags as t
from app.core.formats.tiff_layout import TiffLayout

_LONG = 4
_HEADER_BYTES = 8


def decompress(
    parts: Sequence[bytes], layout: TiffLayout, n_rows: int, max_block_bytes: int
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Decompress strips or tiles, one below the other.

    Args:
        parts: their compressed data.
        layout: says how they are compressed, and how many bytes and rows each has.
        n_rows: of all parts together.
        max_block_bytes: decompressed bytes to return at once, if a row has no more.

    Yields:
        The index of a row, and uint8 `[rows, bytes of a row]` from there on.

    Raises:
        OSError, ValueError, SyntaxError: the data are damaged.
    """
    # `Image.open`, and `load` without an image, would limit the pixels, which are bytes here.
    image = TiffImagePlugin.TiffImageFile(io.BytesIO(_bytes_as_pixels(parts, layout, n_rows)))
    image.im = Image.new("L", (layout.row_bytes, n_rows)).im
    image.load()
    n_block_rows = max(1, max_block_bytes // layout.row_bytes)
    for top in range(0, n_rows, n_block_rows):
        bottom = min(n_rows, top + n_block_rows)
        yield top, np.asarray(image.crop((0, top, layout.row_bytes, bottom)))


def _bytes_as_pixels(parts: Sequence[bytes], layout: TiffLayout, n_rows: int) -> bytes:
    """A little-endian greyscale TIFF of 8 bits, one part wide, that holds the parts."""
    offsets = [_HEADER_BYTES, *accumulate(map(len, parts), initial=_HEADER_BYTES)][1:]
    tags: dict[int, Sequence[int]] = {
        t.WIDTH: [layout.row_bytes],
        t.HEIGHT: [n_rows],
        t.BITS: [8],
        t.COMPRESSION: [layout.samples.compression],
        t.PHOTOMETRIC: [t.BLACK_IS_ZERO],
        t.SAMPLES_PER_PIXEL: [1],
    }
    counts = [len(part) for part in parts]
    if layout.is_tiled:
        tags |= {t.TILE_WIDTH: [layout.row_bytes], t.TILE_HEIGHT: [layout.piece_height_px]}
        tags |= {t.TILE_OFFSETS: offsets[:-1], t.TILE_COUNTS: counts}
    else:
        tags |= {t.ROWS_PER_STRIP: [layout.piece_height_px]}
        tags |= {t.STRIP_OFFSETS: offsets[:-1], t.STRIP_COUNTS: counts}
    directory_at = offsets[-1]
    values_at = directory_at + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag, numbers in sorted(tags.items()):
        raw = struct.pack(f"<{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            raw, values = struct.pack("<I", values_at + len(values)), values + raw
        entries += struct.pack("<HHI", tag, _LONG, len(numbers)) + raw
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    header = struct.pack("<2sHI", b"II", 42, directory_at)
    return b"".join([header, *parts, directory, values])
