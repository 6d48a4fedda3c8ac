"""Every kind of JPEG decodes to the picture that was encoded, and to the pixels of Pillow."""

from __future__ import annotations

import io
import itertools
import struct
from typing import Any

import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from app.core.formats import read_structure
from app.core.formats.jpeg_pixels import decode_jpeg
from app.core.tile import TILE_SIDE_PX, decode_tile, decode_tile_and_header
from tests.core.formats.files import MAX_PIXELS, encoded, jpeg_segment, picture

SMOOTH = picture(TILE_SIDE_PX, TILE_SIDE_PX) // 2 + 64
JFIF_BYTES = 18
OPTIONS = [
    {"progressive": progressive, "optimize": optimize, **restart}
    for progressive, optimize in itertools.product((False, True), repeat=2)
    for restart in ({}, {"restart_marker_rows": 1}, {"restart_marker_blocks": 3})
]


def smooth_jpeg(mode: str = "RGB", **options: object) -> bytes:
    return encoded("JPEG", Image.fromarray(SMOOTH).convert(mode), quality=97, **options)


def without_jfif(jpeg: bytes) -> bytes:
    assert jpeg[2:4] == b"\xff\xe0"
    return jpeg[:2] + jpeg[2 + JFIF_BYTES :]


def with_adobe(jpeg: bytes, transform: int) -> bytes:
    """With another transform in the Adobe segment, which is added to a file without one."""
    at = jpeg.find(b"Adobe")
    if at < 0:
        data = b"Adobe\0\x64\0\0\0\0" + bytes([transform])
        return jpeg[:2] + jpeg_segment(0xEE, data) + jpeg[2:]
    return jpeg[: at + 11] + bytes([transform]) + jpeg[at + 12 :]


def in_scans(planes: list[NDArray[np.uint8]], factors: list[int]) -> bytes:
    """A JPEG with a scan for each plane, for subsampling that no encoder offers.

    Args:
        planes: uint8, each a component at its own size; the first has that of the picture.
        factors: sampling factors as in a frame header, 0x21 for two by one.
    """
    files = [encoded("JPEG", Image.fromarray(plane), quality=97) for plane in planes]
    first = files[0]
    frame_at, tables_at = first.index(b"\xff\xc0"), first.index(b"\xff\xc4")
    height, width = planes[0].shape
    components = b"".join(bytes([i, factor, 0]) for i, factor in enumerate(factors, 1))
    frame = struct.pack(">BHHB", 8, height, width, len(planes)) + components
    scans = b""
    for i, file in enumerate(files, 1):
        data_at = file.index(b"\xff\xda") + 10
        scans += jpeg_segment(0xDA, bytes([1, i, 0, 0, 63, 0])) + file[data_at:-2]
    tables = first[tables_at : first.index(b"\xff\xda")]
    return b"".join([first[:frame_at], jpeg_segment(0xC0, frame), tables, scans, b"\xff\xd9"])


def subsampled(factors: list[int]) -> bytes:
    """The smooth picture in YCbCr; the luma has the largest factors."""
    planes = []
    for plane, factor in zip(
        Image.fromarray(SMOOTH).convert("YCbCr").split(), factors, strict=True
    ):
        across, down = factors[0] >> 4, factors[0] & 15
        size = (
            -(-TILE_SIDE_PX * (factor >> 4) // across),
            -(-TILE_SIDE_PX * (factor & 15) // down),
        )
        planes.append(np.asarray(plane.resize(size, Image.Resampling.BOX)))
    return in_scans(planes, factors)


def require_close(jpeg: bytes, expected: NDArray[np.uint8] = SMOOTH) -> None:
    tile, header = decode_tile_and_header(jpeg)
    assert not header.is_damaged
    difference = np.abs(tile.astype(int) - expected)
    assert difference.mean() < 1.5
    assert difference.max() < 8  # the encoder rounds, and so does each step of the conversion


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_ycbcr_decodes(subsampling: int, options: dict[str, Any]) -> None:
    require_close(smooth_jpeg(subsampling=subsampling, **options))


@pytest.mark.parametrize("subsampling", ["444", "422", "420", "440", "411"])
@pytest.mark.parametrize("progressive", [False, True])
def test_ycbcr_of_another_encoder_decodes(subsampling: str, progressive: bool) -> None:
    jpeg = simplejpeg.encode_jpeg(SMOOTH, 97, colorsubsampling=subsampling)
    if progressive:
        again = Image.open(io.BytesIO(jpeg))
        jpeg = encoded("JPEG", again, quality="keep", subsampling=0, progressive=True)
    require_close(jpeg)


@pytest.mark.parametrize(
    "factors",
    [
        [0x42, 0x11, 0x11],
        [0x24, 0x11, 0x11],
        [0x44, 0x11, 0x11],
        [0x31, 0x11, 0x11],
        [0x22, 0x21, 0x12],
        [0x22, 0x12, 0x21],
        [0x22, 0x22, 0x22],
        [0x21, 0x21, 0x21],
        [0x41, 0x11, 0x11],
        [0x12, 0x12, 0x11],
    ],
    ids=lambda factors: " ".join(f"{factor:x}" for factor in factors),
)
def test_rare_subsampling_decodes(factors: list[int]) -> None:
    require_close(subsampled(factors))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_grey_decodes(options: dict[str, Any]) -> None:
    grey = np.asarray(Image.fromarray(SMOOTH).convert("L"))
    require_close(smooth_jpeg("L", **options), grey[..., None].repeat(3, axis=-1))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_rgb_decodes(options: dict[str, Any]) -> None:
    jpeg = smooth_jpeg(keep_rgb=True, **options)
    require_close(jpeg)
    start = jpeg.index(b"\xff\xee")
    require_close(jpeg[:start] + jpeg[start + 16 :])  # the ids of the components say it too


@pytest.mark.parametrize("adobe", [None, 1])
def test_ycbcr_without_jfif_decodes(adobe: int | None) -> None:
    jpeg = without_jfif(smooth_jpeg())
    require_close(jpeg if adobe is None else with_adobe(jpeg, adobe))


@pytest.mark.parametrize("transform", [0, 1, 2, 9])
def test_jfif_decides_before_adobe(transform: int) -> None:
    assert np.array_equal(
        decode_tile(with_adobe(smooth_jpeg(), transform)), decode_tile(smooth_jpeg())
    )


@pytest.mark.parametrize("version", [0, 2, 255])
def test_jfif_of_another_version_is_read(version: int) -> None:
    jpeg = smooth_jpeg()
    require_close(jpeg[:11] + bytes([version]) + jpeg[12:])


def cmyk() -> NDArray[np.uint8]:
    return np.dstack([SMOOTH, SMOOTH[..., 0] // 2 + 20])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_cmyk_decodes(options: dict[str, Any]) -> None:
    """Share of light that passes: (1 - C)(1 - K)."""
    inks = cmyk().astype(float)
    jpeg = encoded("JPEG", Image.fromarray(cmyk(), "CMYK"), quality=97, **options)
    require_close(jpeg, ((255 - inks[..., :3]) * (255 - inks[..., 3:]) / 255).astype(np.uint8))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_ycck_decodes(options: dict[str, Any]) -> None:
    """Adobe stores YCbCr of the light that passes each ink, and K inverted."""
    ycc = np.asarray(Image.fromarray(SMOOTH).convert("YCbCr"))
    stored = np.dstack([ycc, SMOOTH[..., 0] // 2 + 100])
    jpeg = encoded("JPEG", Image.fromarray(255 - stored, "CMYK"), quality=97, **options)
    light = 255.0 - SMOOTH
    expected = light * stored[..., 3:] / 255
    require_close(with_adobe(jpeg, 2), expected.astype(np.uint8))


@pytest.mark.parametrize("size", [(224, 224), (301, 437), (447, 600), (448, 448), (2000, 913)])
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}], ids=str)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_pixels_are_those_of_pillow(
    mode: str, options: dict[str, Any], size: tuple[int, int]
) -> None:
    """Released models were trained on these."""
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    jpeg = encoded("JPEG", Image.fromarray(noise).convert(mode), **options)
    pillow = Image.open(io.BytesIO(jpeg))
    pillow.draft(None, (TILE_SIDE_PX, TILE_SIDE_PX))
    decoded = decode_jpeg(read_structure(jpeg, MAX_PIXELS), TILE_SIDE_PX)
    assert decoded is not None
    assert np.array_equal(np.asarray(decoded[0]), np.asarray(pillow))
