"""PNG: rows that never came, and damage that only a checksum shows."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Final

import numpy as np
import pytest

from app.core.tile import decode_tile
from app.core.tile_errors import CorruptTileError
from tests.core.formats.files import SIDE_PX, encoded, picture
from tests.encoders import png_chunk

PLAIN: Final = encoded("PNG")
SIGNATURE: Final = PLAIN[:8]
ROWS: Final = [b"\0" + row.tobytes() for row in picture()]


def png(raw: bytes, interlaced: bool = False, change: Callable[[bytes], bytes] = bytes) -> bytes:
    """A PNG of the raw rows, compressed and then changed; its checksums of chunks are right."""
    header = struct.pack(">IIBBBBB", SIDE_PX, SIDE_PX, 8, 2, 0, 0, interlaced)
    data = change(zlib.compress(raw))
    chunks = png_chunk(b"IHDR", header), png_chunk(b"IDAT", data), png_chunk(b"IEND", b"")
    return SIGNATURE + b"".join(chunks)


def in_passes() -> bytes:
    """The picture's rows as an interlaced file has them."""
    passes = (
        *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
        *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
    )
    return b"".join(
        b"\0" + row.tobytes()
        for left, top, across, down in passes
        for row in picture()[top::down, left::across]
    )


@pytest.mark.parametrize("n_missing", [1, 7, SIDE_PX - 1])
def test_data_that_lack_rows_are_refused(n_missing: int) -> None:
    """Pillow leaves such rows black."""
    with pytest.raises(CorruptTileError):
        decode_tile(png(b"".join(ROWS[:-n_missing])))


def test_interlaced_data_that_lack_a_row_are_refused() -> None:
    assert np.array_equal(decode_tile(png(in_passes(), True)), decode_tile(PLAIN))
    with pytest.raises(CorruptTileError):
        decode_tile(png(in_passes()[: -(1 + 3 * SIDE_PX)], True))


def test_black_rows_and_further_rows_are_accepted() -> None:
    blackened = picture()
    blackened[-9:] = 0
    raw = b"".join(b"\0" + row.tobytes() for row in blackened)
    expected = decode_tile(png(raw))
    assert expected[-20:].max() == 0
    assert np.array_equal(decode_tile(png(raw + ROWS[0])), expected)


@pytest.mark.parametrize("n_zeros", [16, 64, 500])
def test_overwritten_image_data_are_refused(n_zeros: int) -> None:
    """Also where they still decode to all rows and more."""
    stored = png(b"".join(ROWS), change=lambda _: zlib.compress(b"".join(ROWS), 0))
    for source in (PLAIN, stored):
        begin = source.index(b"IDAT") + 20
        for at in range(begin, len(source) - n_zeros - 30, 61):
            changed = source[:at] + bytes(n_zeros) + source[at + n_zeros :]
            if changed != source:
                with pytest.raises(CorruptTileError):
                    decode_tile(changed)


def test_wrong_checksum_of_a_chunk_is_ignored_if_the_data_are_whole() -> None:
    at = PLAIN.index(b"IEND") - 8
    changed = PLAIN[:at] + bytes([PLAIN[at] ^ 1]) + PLAIN[at + 1 :]
    assert np.array_equal(decode_tile(changed), decode_tile(PLAIN))


@pytest.mark.parametrize(
    "changed",
    [PLAIN.replace(b"\r\n", b"\n"), PLAIN.replace(b"\n", b"\r\n"), PLAIN[:4] + b"\n" + PLAIN[6:]],
)
def test_file_transferred_as_text_is_named_a_damaged_png(changed: bytes) -> None:
    with pytest.raises(CorruptTileError) as caught:
        decode_tile(changed)
    assert caught.value.format == "PNG"


def test_cut_number_of_frames_is_no_animation() -> None:
    at = PLAIN.index(b"IDAT") - 4
    chunk = png_chunk(b"acTL", b"\0")
    assert np.array_equal(decode_tile(PLAIN[:at] + chunk + PLAIN[at:]), decode_tile(PLAIN))
