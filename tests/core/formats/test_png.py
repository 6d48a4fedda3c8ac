"""PNG: which files are refused, and which stay in the service's own threads."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from app.core.formats.png import MAX_CHUNKS, read_png
from app.core.tile import decode_tile
from app.core.tile_errors import (
    CorruptTileError,
    PixelFormatError,
    TooManyFramesError,
    TooManySegmentsError,
)
from tests.core.formats.files import before_image_data, encoded, exif, picture
from tests.encoders import png_chunk

PLAIN = encoded("PNG")
SIGNATURE, HEADER, REST = PLAIN[:8], PLAIN[8:33], PLAIN[33:]


def with_header(size: tuple[int, int], depth: int, colour_type: int, *methods: int) -> bytes:
    header = struct.pack(">IIBBBBB", *size, depth, colour_type, *(methods or (0, 0, 0)))
    palette = png_chunk(b"PLTE", bytes(3)) if colour_type == 3 else b""
    return SIGNATURE + png_chunk(b"IHDR", header) + palette + REST


def test_ordinary_file_stays_as_it_is() -> None:
    structure = read_png(PLAIN)
    assert (structure.width_px, structure.height_px, structure.orientation) == (64, 64, 1)
    assert structure.pixel_bytes is PLAIN
    assert structure.is_predictable


DAMAGED = {
    "no header": SIGNATURE + REST,
    "two headers": SIGNATURE + HEADER + HEADER + REST,
    "header behind the pixels": PLAIN + HEADER,
    "header behind the data": PLAIN[:-12] + png_chunk(b"IHDR", HEADER[8:21]) + PLAIN[-12:],
    "short header": SIGNATURE + png_chunk(b"IHDR", HEADER[8:16]) + REST,
    "truncated header": PLAIN[:30],
    "signature alone": SIGNATURE,
    "colour type 1": with_header((64, 64), 8, 1),
    "RGB of 4 bits": with_header((64, 64), 4, 2),
    "palette of 16 bits": with_header((64, 64), 16, 3),
    "unknown filter method": with_header((64, 64), 8, 2, 0, 64, 0),
    "unknown interlacing": with_header((64, 64), 8, 2, 0, 0, 2),
    "transparent colour of two samples": before_image_data(PLAIN, png_chunk(b"tRNS", bytes(4))),
    "transparent colour of a wrong checksum": before_image_data(
        PLAIN, png_chunk(b"tRNS", bytes(6))[:-1] + b"?"
    ),
}


@pytest.mark.parametrize("name", sorted(DAMAGED.keys() - {"header behind the pixels"}))
def test_damaged_structure_is_refused(name: str) -> None:
    with pytest.raises(CorruptTileError) as caught:
        read_png(DAMAGED[name])
    assert caught.value.format == "PNG"


def test_bytes_behind_the_end_are_ignored() -> None:
    assert np.array_equal(decode_tile(DAMAGED["header behind the pixels"]), decode_tile(PLAIN))


@pytest.mark.parametrize("kind", [b"teSt", b"IDAT"])
def test_chunks_are_bounded(kind: bytes) -> None:
    chunk = png_chunk(kind, b"")
    accepted = read_png(before_image_data(PLAIN, chunk * (MAX_CHUNKS - PLAIN.count(b"IDAT") - 2)))
    assert accepted.width_px == 64
    with pytest.raises(TooManySegmentsError) as caught:
        read_png(before_image_data(PLAIN, chunk * MAX_CHUNKS))
    assert (caught.value.format, caught.value.limit_segments) == ("PNG", MAX_CHUNKS)


@pytest.mark.parametrize("kind", [b"CgBI", b"ABCD"])
def test_unknown_critical_chunk_is_refused(kind: bytes) -> None:
    """Apple's CgBI says that the pixels are stored in another way."""
    with pytest.raises(PixelFormatError) as caught:
        read_png(SIGNATURE + png_chunk(kind, b"\x50\0\x20\2") + HEADER + REST)
    assert caught.value.mode == f"PNG with the critical chunk {kind.decode()}"


@pytest.mark.parametrize("at", [-1, -13, len(SIGNATURE + HEADER) - 1])
def test_wrong_checksum_is_ignored_or_named(at: int) -> None:
    """Pixels have a checksum of their own within the compressed data."""
    changed = bytearray(PLAIN)
    changed[at] ^= 1
    if at < 0:
        assert np.array_equal(decode_tile(bytes(changed)), decode_tile(PLAIN))
        return
    with pytest.raises(CorruptTileError) as caught:
        decode_tile(bytes(changed))
    assert caught.value.format == "PNG"


@pytest.mark.parametrize("n_lost", [1, 4, 12, 16])
def test_end_that_is_cut_loses_nothing(n_lost: int) -> None:
    assert np.array_equal(decode_tile(PLAIN[:-n_lost]), decode_tile(PLAIN))


@pytest.mark.parametrize(("n_frames", "is_refused"), [(0, False), (1, False), (2, True)])
def test_animation_is_refused(n_frames: int, is_refused: bool) -> None:
    png = before_image_data(PLAIN, png_chunk(b"acTL", struct.pack(">II", n_frames, 0)))
    if not is_refused:
        assert read_png(png).pixel_bytes == PLAIN
        return
    with pytest.raises(TooManyFramesError) as caught:
        read_png(png)
    assert caught.value.limit_frames == 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_chunks_that_decide_pixels_stay(mode: str) -> None:
    image = Image.fromarray(picture()).convert(mode if mode != "I;16" else "I").convert(mode)
    options = {"transparency": 3} if mode == "P" else {}
    png = encoded("PNG", image, **options)
    assert read_png(png).pixel_bytes == png


def test_chunks_between_image_data_go() -> None:
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in picture()))
    parts = [png_chunk(b"IDAT", data[i : i + 999]) for i in range(0, len(data), 999)]
    head, tail = SIGNATURE + HEADER, png_chunk(b"IEND", b"")
    mixed = head + png_chunk(b"tEXt", b"a\0b").join(parts) + tail
    assert read_png(mixed).pixel_bytes == head + b"".join(parts) + tail


def test_first_orientation_counts() -> None:
    chunks = [png_chunk(b"eXIf", exif(i)) for i in (6, 3)]
    assert read_png(before_image_data(PLAIN, *chunks)).orientation == 6


@pytest.mark.parametrize(
    ("size", "depth", "colour_type", "is_predictable"),
    [
        ((4096, 4096), 8, 2, True),
        ((4096, 4096), 8, 6, True),
        ((4096, 4096), 16, 0, True),
        ((4096, 4096), 16, 2, False),
        ((4096, 4096), 16, 6, False),
        ((8192, 8192), 1, 0, True),
        ((8192, 8193), 8, 3, False),
    ],
)
def test_expensive_layout_is_not_predictable(
    size: tuple[int, int], depth: int, colour_type: int, is_predictable: bool
) -> None:
    assert read_png(with_header(size, depth, colour_type)).is_predictable is is_predictable
