"""Metadata go without changing a pixel; the orientation stays."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from app.core.formats import read_structure
from app.core.tile import decode_tile, decode_tile_and_header
from tests.core.formats.files import (
    MAX_PIXELS,
    after_start,
    before_image_data,
    encoded,
    exif,
    extended_webp,
    jpeg_segment,
    picture,
    webp_chunk,
)
from tests.encoders import png_chunk, strips, tiff, tiff_tags

LARGE = bytes(range(256)) * 250
JPEG_METADATA = {
    "ICC profile": jpeg_segment(0xE2, b"ICC_PROFILE\0\1\1" + LARGE) * 20,
    "EXIF": jpeg_segment(0xE1, b"Exif\0\0" + exif(1, n_padding=60_000)),
    "XMP": jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + LARGE) * 20,
    "comment": jpeg_segment(0xFE, LARGE) * 20,
    "multi-picture index": jpeg_segment(0xE2, b"MPF\0" + LARGE),
    "second JFIF": jpeg_segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"),
    "short JFIF": jpeg_segment(0xE0, b"JFIF\0"),
    "JFIF extension": jpeg_segment(0xE0, b"JFXX\0\x10" + LARGE),
    "fill bytes": b"\xff" * 5000,
    "length that is too small": b"\xff\xe5\0\x09" + LARGE,
    "length of zero": b"\xff\xed\0\0" + LARGE[:90],
    "length that is too large": b"\xff\xe1\0\x60Exif\0\0" + exif(1),
    "length beyond the end": b"\xff\xfe\xff\xff" + LARGE[:90],
    "garbled EXIF": jpeg_segment(0xE1, b"Exif\0\0garbled"),
    "cut Adobe segment": jpeg_segment(0xEE, b"Adobe\0\x64"),
    "other data in an Adobe segment": jpeg_segment(0xEE, LARGE),
}
PNG_METADATA = {
    "ICC profile": png_chunk(b"iCCP", b"x\0\0" + zlib.compress(LARGE)),
    "damaged ICC profile": png_chunk(b"iCCP", b"x\0\0" + LARGE),
    "EXIF": png_chunk(b"eXIf", exif(1, n_padding=60_000)),
    "text": png_chunk(b"tEXt", b"Comment\0" + LARGE) * 20,
    "compressed text": png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**21))) * 20,
    "XMP": png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + LARGE),
    "gamma": png_chunk(b"gAMA", struct.pack(">I", 20_000)),
    "private chunk": png_chunk(b"prVt", LARGE),
    "palette of an RGB picture": png_chunk(b"PLTE", bytes(7)),
    "wrong checksum": png_chunk(b"iTXt", b"XML:com.adobe.xmp\0")[:-1] + b"?",
    "length that is too small": struct.pack(">I", 9) + png_chunk(b"zTXt", LARGE[:90])[4:],
    "length that is too large": struct.pack(">I", 140) + png_chunk(b"tEXt", LARGE[:90])[4:],
    "length beyond the end": b"\x7f\0\0\0eXIf" + LARGE[:90],
}


@pytest.mark.parametrize("name", JPEG_METADATA)
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_metadata_change_no_pixel(name: str, progressive: bool) -> None:
    plain = encoded("JPEG", progressive=progressive)
    with_metadata = plain[:20] + JPEG_METADATA[name] + plain[20:]  # behind the JFIF segment
    assert np.array_equal(decode_tile(with_metadata), decode_tile(plain))
    assert not decode_tile_and_header(with_metadata)[1].is_damaged
    assert len(read_structure(with_metadata, MAX_PIXELS).pixel_bytes) <= len(plain)


@pytest.mark.parametrize("name", PNG_METADATA)
def test_png_metadata_change_no_pixel(name: str) -> None:
    plain = encoded("PNG")
    with_metadata = before_image_data(plain, PNG_METADATA[name])
    assert np.array_equal(decode_tile(with_metadata), decode_tile(plain))
    assert read_structure(with_metadata, MAX_PIXELS).pixel_bytes == plain


@pytest.mark.parametrize("metadata", [(0x20, b"ICCP"), (0x08, b"EXIF"), (0x04, b"XMP ")])
def test_webp_metadata_change_no_pixel(metadata: tuple[int, bytes]) -> None:
    flag, kind = metadata
    plain = encoded("WEBP", lossless=True)
    with_metadata = extended_webp(plain, flag, webp_chunk(kind, LARGE * 20))
    assert np.array_equal(decode_tile(with_metadata), decode_tile(plain))


def test_tiff_metadata_change_no_pixel() -> None:
    metadata = {"icc_profile": LARGE, "description": "x" * 60_000, "software": "y" * 60_000}
    assert np.array_equal(decode_tile(encoded("TIFF", **metadata)), decode_tile(encoded("TIFF")))


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "L"])
def test_adobe_segment_stays(mode: str) -> None:
    """It says whether components are YCbCr, RGB, CMYK or YCCK."""
    jpeg = encoded("JPEG", Image.fromarray(picture()).convert(mode), keep_rgb=mode == "RGB")
    assert read_structure(jpeg, MAX_PIXELS).pixel_bytes == jpeg


def oriented(format_: str, orientation: int, order: str) -> bytes:
    data = exif(orientation, order)
    if format_ == "JPEG":
        jpeg = encoded("JPEG", Image.fromarray(picture(96, 128)), quality=95)
        return after_start(jpeg, jpeg_segment(0xE1, b"Exif\0\0" + data))
    image = Image.fromarray(picture(96, 128))
    if format_ == "PNG":
        return before_image_data(encoded("PNG", image), png_chunk(b"eXIf", data))
    if format_ == "WEBP":
        return encoded("WEBP", image, lossless=True, exif=data)
    tags = {**tiff_tags(128, 96), **strips(96, [8], [128 * 96 * 3]), 0x0112: ("H", [orientation])}
    return tiff(tags, picture(96, 128).tobytes(), order)


@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation_is_applied(format_: str, orientation: int, order: str) -> None:
    upright = Image.fromarray(picture(96, 128))
    upright.getexif()[0x0112] = orientation
    expected = ImageOps.exif_transpose(upright)
    tile, header = decode_tile_and_header(oriented(format_, orientation, order))
    assert (header.width_px, header.height_px) == expected.size
    difference = tile.astype(int) - decode_tile(encoded("PNG", expected))
    assert np.abs(difference).mean() < (2 if format_ == "JPEG" else 0.5)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_orientation_out_of_range_is_upright(format_: str, orientation: int) -> None:
    assert read_structure(oriented(format_, orientation, "<"), MAX_PIXELS).orientation == 1


def test_first_exif_segment_counts() -> None:
    first, second = (jpeg_segment(0xE1, b"Exif\0\0" + exif(i)) for i in (6, 3))
    assert read_structure(after_start(encoded("JPEG"), first, second), MAX_PIXELS).orientation == 6
    chunks = [webp_chunk(b"EXIF", exif(i)) for i in (6, 3)]
    content = extended_webp(encoded("WEBP"), 0x08, *chunks)
    assert read_structure(content, MAX_PIXELS).orientation == 6


def test_camera_file_with_a_preview_decodes_to_its_first_picture() -> None:
    preview = encoded("JPEG", Image.new("RGB", (160, 120), "lime"))
    photo, second = (Image.new("RGB", (128, 96), colour) for colour in ("red", "blue"))
    data = exif(1, n_padding=16) + preview
    camera = encoded("MPO", photo, save_all=True, append_images=[second], exif=b"Exif\0\0" + data)
    structure = read_structure(camera, MAX_PIXELS)
    assert (structure.width_px, structure.height_px, structure.format) == (128, 96, "JPEG")
    assert decode_tile(camera)[100, 100].tolist() == [254, 0, 0]
