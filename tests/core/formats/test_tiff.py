"""TIFF: which strips and tiles are refused, and which legitimate layouts are accepted."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from PIL import Image

from app.core.formats.tiff import read_tiff
from app.core.formats.tiff_layout import MAX_PIECES
from app.core.tile import decode_tile
from app.core.tile_errors import (
    CorruptTileError,
    DecodeBudgetError,
    TooManyFramesError,
    TooManyPixelsError,
    TooManySegmentsError,
)
from tests.core.formats.files import MAX_PIXELS, encoded, picture
from tests.encoders import Values, strips, tiff, tiff_tags, tiles

DEFLATE = 8
PLANES = {284: ("H", [2])}


def tiled(side_px: int, tile: tuple[int, int], n_tiles: int, n_bytes: int = 8) -> bytes:
    """`side_px` squared in tiles of (width, height), each with data of its own."""
    offsets = [8 + i * n_bytes for i in range(n_tiles)]
    grid = tiles(*tile, offsets, [n_bytes] * n_tiles)
    return tiff({**tiff_tags(side_px, side_px, DEFLATE), **grid}, bytes(n_bytes * n_tiles))


def in_strips(side_px: int, tags: dict[int, Values] | None = None) -> bytes:
    """One strip, uncompressed."""
    n_bytes = side_px * side_px * 3
    strip = strips(side_px, [8], [n_bytes])
    return tiff({**tiff_tags(side_px, side_px), **strip, **(tags or {})}, bytes(n_bytes))


def test_ordinary_file_is_accepted() -> None:
    content = encoded("TIFF")
    structure = read_tiff(content, MAX_PIXELS)
    assert (structure.width_px, structure.height_px, structure.orientation) == (64, 64, 1)
    assert structure.pixel_bytes is content
    assert not structure.is_predictable


@pytest.mark.parametrize(
    "compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"]
)
@pytest.mark.parametrize("rows", [1, 7, 64])
@pytest.mark.parametrize("big_tiff", [False, True])
def test_ordinary_layouts_decode(compression: str, rows: int, big_tiff: bool) -> None:
    options = {"strip_size": rows * 64 * 3} if compression != "jpeg" else {}
    content = encoded("TIFF", compression=compression, big_tiff=big_tiff, **options)
    assert read_tiff(content, MAX_PIXELS).width_px == 64
    difference = decode_tile(content).astype(int) - decode_tile(encoded("PNG"))
    assert np.abs(difference).mean() < 3


def test_strip_a_row_in_separate_planes_is_accepted() -> None:
    n_strips = 3 * 4096
    rows = strips(1, [8] * n_strips, [100] * n_strips)
    content = tiff({**tiff_tags(4096, 4096, DEFLATE), **rows, **PLANES}, bytes(2_000_000))
    assert read_tiff(content, MAX_PIXELS).height_px == 4096


def test_pillow_does_not_count_bytes_as_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """4096 x 4096 px of 16-bit RGB have more bytes than Pillow lets an image have pixels."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 64)
    content = encoded("TIFF", compression="tiff_lzw")
    assert np.array_equal(decode_tile(content, side_px=64), picture())


def test_blank_tiles_may_share_their_data() -> None:
    """Some scanners store one blank tile and let all blank tiles of a slide refer to it."""
    blank = zlib.compress(b"\xee" * (256 * 256 * 3))
    grid = tiles(256, 256, [8] * 64, [len(blank)] * 64)
    content = tiff({**tiff_tags(2048, 2048, DEFLATE), **grid}, blank)
    assert 64 * len(blank) > 2 * len(content)
    assert set(decode_tile(content).ravel()) == {0xEE}


@pytest.mark.parametrize(
    ("side_px", "tile", "n_tiles"), [(64, 1024, 1), (300, 1024, 1), (1100, 1024, 4)]
)
def test_small_image_in_large_tiles_is_accepted(side_px: int, tile: int, n_tiles: int) -> None:
    assert read_tiff(tiled(side_px, (tile, tile), n_tiles), MAX_PIXELS).width_px == side_px


def test_whole_slide_is_refused_for_its_pixels() -> None:
    """Although its tiles and levels break other rules too."""
    n_tiles = 2 * MAX_PIECES
    grid = tiles(256, 256, [8] * n_tiles, [8] * n_tiles)
    slide = tiff({**tiff_tags(80_000, 60_000), **grid}, bytes(8))
    with pytest.raises(TooManyPixelsError) as caught:
        read_tiff(slide, MAX_PIXELS)
    assert caught.value.limit_pixels == MAX_PIXELS


def test_pyramid_is_refused() -> None:
    pages = [Image.fromarray(picture(side, side)) for side in (256, 128)]
    content = encoded("TIFF", pages[0], save_all=True, append_images=pages[1:])
    with pytest.raises(TooManyFramesError) as caught:
        read_tiff(content, MAX_PIXELS)
    assert caught.value.limit_frames == 1


TOO_MANY = {
    "tiles": tiled(4096, (16, 16), 1),
    "offsets": tiff({**tiff_tags(64, 64), **strips(1, [8] * (MAX_PIECES + 1), [8])}, bytes(8)),
    "planes": tiff({**tiff_tags(64, 6000), **strips(1, [8], [8]), **PLANES}, bytes(8)),
}


@pytest.mark.parametrize("name", TOO_MANY)
def test_pieces_are_bounded(name: str) -> None:
    with pytest.raises(TooManySegmentsError) as caught:
        read_tiff(TOO_MANY[name], MAX_PIXELS)
    assert (caught.value.format, caught.value.limit_segments) == ("TIFF", MAX_PIECES)


@pytest.mark.parametrize(
    "tile", [(65_520, 32_000), (16, 2**31), (2**32 - 1, 2**32 - 1), (4096, 1040)]
)
def test_tiles_much_larger_than_the_image_are_refused(tile: tuple[int, int]) -> None:
    with pytest.raises(DecodeBudgetError) as caught:
        read_tiff(tiled(64, tile, 1), MAX_PIXELS)
    assert caught.value.reason == "its tiles are many times larger than the image"


def test_strips_that_share_megabytes_are_refused() -> None:
    rows = strips(1, [8] * 4096, [100_000] * 4096)
    content = tiff({**tiff_tags(4096, 4096, DEFLATE), **rows}, bytes(100_000))
    with pytest.raises(DecodeBudgetError) as caught:
        read_tiff(content, MAX_PIXELS)
    assert caught.value.reason == "its strips or tiles share their data"


DAMAGED = {
    "no width": in_strips(64, {256: ("I", [])}),
    "two widths": in_strips(64, {256: ("I", [64, 64])}),
    "no height": in_strips(64, {257: ("I", [0])}),
    "no rows per strip": in_strips(64, {278: ("I", [0])}),
    "too few offsets": in_strips(64, {278: ("I", [32])}),
    "too few counts": in_strips(64, {279: ("I", [])}),
    "strip beyond the end": in_strips(64, {273: ("I", [500])}),
    "offset beyond the end": in_strips(64, {273: ("I", [2**32 - 1])}),
    "tile without a height": in_strips(64, {322: ("I", [64])}),
    "tile offsets alone": in_strips(64, {324: ("I", [8])}),
    "no directory": b"II*\0\0\0\0\0",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_structure_is_refused(name: str) -> None:
    with pytest.raises(CorruptTileError) as caught:
        read_tiff(DAMAGED[name], MAX_PIXELS)
    assert caught.value.format == "TIFF"


def test_one_strip_may_claim_more_rows_than_the_image_has() -> None:
    assert read_tiff(in_strips(64, {278: ("I", [2**32 - 1])}), MAX_PIXELS).height_px == 64
