from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from app.core.errors import TileError
from app.core.formats import FORMATS
from app.core.tile import TileLimits, decode_tile, decode_tile_and_header
from app.core.tile_errors import (
    CorruptTileError,
    EmptyTileError,
    PixelFormatError,
    TileFormatError,
    TileTooLargeError,
    TileTooSmallError,
    TooManyFramesError,
)
from tests.bundles import encode, plain_tile


def gradient(height: int = 300, width: int = 300) -> NDArray[np.uint8]:
    """A smooth gradient, asymmetric in both directions so that a flip or a crop shows."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack(
        [255 * y / height, 255 * x / width, 255 * (x + y) / (height + width)], axis=-1
    ).astype(np.uint8)


def encode_image(image: Image.Image, format_: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("format_", FORMATS)
@settings(max_examples=20)
@given(width=st.integers(64, 500), height=st.integers(64, 500))
def test_decode_tile_returns_the_documented_shape_for_any_size(
    format_: str, width: int, height: int
) -> None:
    tile, header = decode_tile_and_header(
        encode_image(Image.new("RGB", (width, height), "plum"), format_)
    )
    assert tile.shape == (224, 224, 3)
    assert tile.dtype == np.uint8
    assert (header.format, header.width_px, header.height_px) == (format_, width, height)
    assert np.abs(tile.astype(int) - (221, 160, 221)).max() <= 5


def test_decode_tile_resamples_to_the_given_side() -> None:
    assert decode_tile(plain_tile((1, 2, 3)), side_px=96).shape == (96, 96, 3)


@pytest.mark.parametrize(
    "side_px", [224, 299, 1024, pytest.param(2048, marks=pytest.mark.exhaustive)]
)
def test_reduced_jpeg_decoding_agrees_with_full_decoding(side_px: int) -> None:
    pixels = gradient(side_px, side_px)
    jpeg = encode_image(Image.fromarray(pixels), "JPEG", quality=95)
    difference = decode_tile(jpeg).astype(int) - decode_tile(encode(pixels)).astype(int)
    assert np.abs(difference).mean() < 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(format_: str, orientation: int) -> None:
    image = Image.fromarray(gradient(260, 300))
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if format_ == "WEBP" else {}
    tile, header = decode_tile_and_header(encode_image(image, format_, exif=exif, **lossless))
    upright = image.copy()
    upright.getexif()[0x0112] = orientation
    expected = ImageOps.exif_transpose(upright)
    assert (header.width_px, header.height_px) == expected.size
    difference = tile.astype(int) - decode_tile(encode_image(expected, "PNG")).astype(int)
    assert np.abs(difference).max() <= 1


def test_alpha_is_composited_over_white() -> None:
    pixels = np.zeros((256, 256, 4), np.uint8)
    pixels[:, 128:] = (255, 0, 0, 255)
    tile = decode_tile(encode(pixels))
    assert tile[100, 50].tolist() == [255, 255, 255]
    assert tile[100, 200].tolist() == [255, 0, 0]


def test_transparent_palette_colour_is_composited_over_white() -> None:
    image = Image.new("P", (256, 256), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    assert decode_tile(encode_image(image, "PNG", transparency=0)).min() == 255


@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
def test_sixteen_bit_grey_equals_its_eight_bit_twin(format_: str) -> None:
    grey = gradient()[..., 2]
    wide = Image.fromarray(grey.astype(np.uint16) * 257)
    assert np.array_equal(decode_tile(encode_image(wide, format_)), decode_tile(encode(grey)))


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("L", 90, (90, 90, 90)),
        ("1", 1, (255, 255, 255)),
        ("LA", (90, 255), (90, 90, 90)),
        ("P", 0, (0, 0, 0)),
    ],
)
def test_other_pixel_layouts_become_rgb(
    mode: str, colour: int | tuple[int, ...], expected: tuple[int, int, int]
) -> None:
    tile = decode_tile(encode_image(Image.new(mode, (100, 100), colour), "PNG"))
    assert tile[112, 112].tolist() == list(expected)


@pytest.mark.parametrize("format_", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(format_: str) -> None:
    image = Image.new("CMYK", (128, 128), (0, 255, 255, 0))
    red = decode_tile(encode_image(image, format_))[100, 100].astype(int)
    assert np.abs(red - (255, 0, 0)).max() <= 6


def test_icc_profile_is_ignored() -> None:
    image = Image.fromarray(gradient())
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert np.array_equal(
        decode_tile(encode_image(image, "PNG", icc_profile=profile)),
        decode_tile(encode_image(image, "PNG")),
    )


@pytest.mark.parametrize("shape", [(256, 512), (512, 256)])
def test_centre_square_of_an_oblong_image_is_used(shape: tuple[int, int]) -> None:
    height, width = shape
    pixels = np.zeros((height, width, 3), np.uint8)
    top, left = (height - 256) // 2, (width - 256) // 2
    pixels[top : top + 256, left : left + 256] = 200
    # At the edge the resampling kernel includes pixels outside the centre square.
    assert decode_tile(encode(pixels))[3:-3, 3:-3].min() >= 199


def test_float_pixels_are_rejected() -> None:
    with pytest.raises(PixelFormatError):
        decode_tile(encode_image(Image.new("F", (100, 100)), "TIFF"))


def test_empty_bytes_are_rejected() -> None:
    with pytest.raises(EmptyTileError):
        decode_tile(b"")


@pytest.mark.parametrize("content", [b"hello", b"%PDF-1.7", b"GIF89a" + bytes(50), bytes(9999)])
def test_content_that_is_not_an_image_is_rejected(content: bytes) -> None:
    with pytest.raises(TileFormatError):
        decode_tile(content)


def test_gif_is_rejected() -> None:
    with pytest.raises(TileFormatError) as caught:
        decode_tile(encode_image(Image.new("P", (100, 100)), "GIF"))
    assert caught.value.formats == FORMATS


def test_too_many_bytes_are_rejected() -> None:
    with pytest.raises(TileTooLargeError) as caught:
        decode_tile(plain_tile((1, 2, 3)), TileLimits(max_bytes=100))
    assert caught.value.limit_bytes == 100


def test_short_side_is_rejected() -> None:
    with pytest.raises(TileTooSmallError) as caught:
        decode_tile(encode(gradient(63, 300)))
    assert (caught.value.width_px, caught.value.height_px) == (300, 63)


@pytest.mark.parametrize("format_", ["TIFF", "WEBP", "PNG"])
def test_several_frames_are_rejected(format_: str) -> None:
    frames = [Image.new("RGB", (100, 100), colour) for colour in ("red", "green")]
    several = encode_image(frames[0], format_, save_all=True, append_images=frames[1:])
    with pytest.raises(TooManyFramesError):
        decode_tile(several)


def test_decode_tile_takes_the_first_picture_of_a_camera_file() -> None:
    frames = [Image.new("RGB", (100, 100), colour) for colour in ("red", "green")]
    camera = encode_image(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert decode_tile(camera)[0, 0, 0] > 200


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_image_is_rejected(format_: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    whole = encode(noise, format_)
    with pytest.raises((CorruptTileError, TileFormatError)):
        decode_tile(whole[: int(len(whole) * share)])


# Pillow warns about the damage.
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("format_", FORMATS)
@settings(max_examples=40)
@given(data=st.data())
def test_mutated_image_is_decoded_or_rejected(format_: str, data: st.DataObject) -> None:
    content = bytearray(encode(gradient(80, 80), format_))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(TileError):
        assert decode_tile(bytes(content)).shape == (224, 224, 3)


@given(st.binary(max_size=2000))
def test_any_bytes_are_decoded_or_rejected(content: bytes) -> None:
    with contextlib.suppress(TileError):
        decode_tile(content)


@pytest.mark.real_tiles
def test_every_real_tile_is_decoded(real_tiles_dir: Path) -> None:
    files = sorted(real_tiles_dir.rglob("*.jpg"))
    assert files
    for file in files:
        tile, header = decode_tile_and_header(file.read_bytes())
        assert tile.shape == (224, 224, 3)
        assert (header.format, header.width_px, header.height_px) == ("JPEG", 1024, 1024)
