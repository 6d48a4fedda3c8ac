"""JPEG strips and tiles inside TIFF: colours by the tags, and the checks of a JPEG file."""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np
import pytest
from PIL import Image

from app.core.formats.ifd import read_directory
from app.core.formats.tiff_tags import JPEG_TABLES
from app.core.tile import decode_tile
from app.core.tile_errors import CorruptTileError, PixelFormatError, TooManyScansError
from tests.core.formats.files import encoded, picture
from tests.encoders import Values, strips, tiff, tiff_tags

RGB: Final = picture(128, 128)
JPEG, YCBCR = 7, 6
ADOBE_RGB: Final = b"\xff\xd8\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0"
JFIF: Final = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"


BT601: Final = (299, 1000, 587, 1000, 114, 1000)
BT709: Final = (2126, 10000, 7152, 10000, 722, 10000)
FULL_RANGE: Final = (0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1)
REDUCED_RANGE: Final = (16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1)


def jpeg(image: Image.Image | None = None, **options: Any) -> bytes:
    return encoded("JPEG", image or Image.fromarray(RGB), quality=95, **options)


def without_jfif(content: bytes) -> bytes:
    assert content[2:20] == JFIF
    return content[:2] + content[20:]


def in_tiff(stream: bytes, photometric: int, tags: dict[int, Values] | None = None) -> bytes:
    """One strip of JPEG."""
    place = strips(128, [8], [len(stream)])
    colours: dict[int, Values] = {262: ("H", [photometric])}
    return tiff({**tiff_tags(128, 128, JPEG), **place, **colours, **(tags or {})}, stream)


def difference(content: bytes, expected: np.ndarray[Any, Any] = RGB) -> float:
    tile = decode_tile(content, side_px=128).astype(int)
    return float(np.abs(tile - expected).mean())


UNTRANSFORMED: Final = jpeg(keep_rgb=True)
"""RGB components, which an Adobe segment or the names of the components say."""


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("with_jfif", [True, False])
@pytest.mark.parametrize("progressive", [True, False])
def test_ycbcr_is_read(subsampling: str, with_jfif: bool, progressive: bool) -> None:
    stream = jpeg(subsampling=subsampling, progressive=progressive)
    content = in_tiff(stream if with_jfif else without_jfif(stream), YCBCR)
    assert difference(content) < 2
    decoded = np.asarray(Image.open(io.BytesIO(stream)))
    assert np.array_equal(decode_tile(content, side_px=128), decoded)


def test_usual_coefficients_and_range_are_read() -> None:
    usual: dict[int, Values] = {529: ("R", BT601), 532: ("R", FULL_RANGE)}
    assert difference(in_tiff(jpeg(), YCBCR, usual)) < 2


def test_rgb_without_transform_is_read() -> None:
    assert difference(in_tiff(UNTRANSFORMED, 2)) < 2


@pytest.mark.parametrize("photometric", [0, 1])
def test_grey_is_read(photometric: int) -> None:
    grey = RGB[..., 0]
    stream = jpeg(Image.fromarray(255 - grey if photometric == 0 else grey))
    content = in_tiff(stream, photometric, {277: ("H", [1]), 258: ("H", [8])})
    assert difference(content, grey[..., None]) < 2


CONTRADICTIONS: Final = {
    "JFIF, and tags of RGB": in_tiff(jpeg(), 2),
    "Adobe's RGB, and tags of YCbCr": in_tiff(ADOBE_RGB + UNTRANSFORMED[2:], YCBCR),
    "grey, and tags of RGB": in_tiff(jpeg(Image.fromarray(RGB[..., 0])), 2),
    "colours, and tags of grey": in_tiff(jpeg(), 1, {277: ("H", [1]), 258: ("H", [8])}),
    "CMYK, and tags of RGB": in_tiff(jpeg(Image.new("CMYK", (128, 128))), 2),
    "other coefficients": in_tiff(jpeg(), YCBCR, {529: ("R", BT709)}),
    "a reduced range": in_tiff(jpeg(), YCBCR, {532: ("R", REDUCED_RANGE)}),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_jpeg_that_contradicts_the_tags_is_refused(name: str) -> None:
    with pytest.raises(PixelFormatError):
        decode_tile(CONTRADICTIONS[name])


def frame_changed(at: int, value: int, marker: int = 0xC0) -> bytes:
    stream = bytearray(without_jfif(jpeg()))
    frame = stream.index(b"\xff\xc0")
    stream[frame + 1], stream[frame + at] = marker, value
    return bytes(stream)


def test_what_a_jpeg_may_not_be_it_may_not_be_inside_either() -> None:
    with pytest.raises(PixelFormatError, match="12-bit JPEG"):
        decode_tile(in_tiff(frame_changed(4, 12, marker=0xC1), YCBCR))
    with pytest.raises(PixelFormatError, match="arithmetic-coded JPEG"):
        decode_tile(in_tiff(frame_changed(4, 8, marker=0xC9), YCBCR))
    scan = b"\xff\xda\0\x08\1\1\0\0\x3f\0\0"
    stream = jpeg(progressive=True)
    with pytest.raises(TooManyScansError):
        decode_tile(in_tiff(stream[:-2] + scan * 200 + stream[-2:], YCBCR))


@pytest.mark.parametrize("side", [(128, 64), (64, 128), (256, 128)])
def test_jpeg_of_another_size_is_damage(side: tuple[int, int]) -> None:
    with pytest.raises(CorruptTileError):
        decode_tile(in_tiff(jpeg(Image.new("RGB", side)), YCBCR))


def test_strip_of_more_rows_than_are_left_is_cut() -> None:
    taller = np.vstack([RGB, RGB[:32]])
    assert difference(in_tiff(jpeg(Image.fromarray(taller)), YCBCR)) < 2


@pytest.mark.parametrize("stream", [b"\xff\xd8", b"no JPEG at all", jpeg()[:300]])
def test_no_whole_jpeg_is_damage(stream: bytes) -> None:
    with pytest.raises(CorruptTileError):
        decode_tile(in_tiff(stream, YCBCR))


def test_scans_count_in_each_stream() -> None:
    """A TIFF may have more JPEG tiles than a JPEG may have scans."""
    content = encoded(
        "TIFF", Image.new("RGB", (2048, 2048), "plum"), compression="jpeg", strip_size=2048 * 3 * 8
    )
    assert content.count(b"\xff\xda") > 100
    assert np.abs(decode_tile(content).astype(int) - (221, 160, 221)).max() <= 3


def test_tables_apart_from_the_streams_are_used() -> None:
    content = encoded("TIFF", Image.fromarray(RGB), compression="jpeg")
    tags, _ = read_directory(content, {JPEG_TABLES}, 10_000)
    assert len(tags[JPEG_TABLES]) > 100
    assert difference(content) < 2
