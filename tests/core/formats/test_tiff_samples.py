"""TIFF pixels that `tifffile` does not write: read right, or refused with their name."""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.core.tile import decode_tile, decode_tile_and_header
from app.core.tile_errors import CorruptTileError, PixelFormatError
from tests.core.formats.files import encoded, picture
from tests.encoders import Values, strips, tiff, tiff_tags, tiles

SIDE_PX: Final = 64
RGB: Final = picture()
GREY: Final = RGB[..., 2]
Tags = dict[int, Values]


def raw(data: bytes, changed: Tags | None = None, without: int = 0, order: str = "<") -> bytes:
    """One uncompressed strip."""
    place = strips(SIDE_PX, [8], [len(data)])
    tags = {**tiff_tags(SIDE_PX, SIDE_PX), **place, **(changed or {})}
    tags.pop(without, None)
    return tiff(tags, data, order)


def grey(changed: Tags | None = None, data: bytes = GREY.tobytes()) -> bytes:
    return raw(data, {258: ("H", [8]), 262: ("H", [1]), 277: ("H", [1]), **(changed or {})})


def colours(**changed: Any) -> bytes:
    return raw(RGB.tobytes() * 4, {int(tag[1:]): values for tag, values in changed.items()})


def in_tiles(offsets: list[int], counts: list[int]) -> bytes:
    side_px = SIDE_PX // 2
    return tiff(
        {**tiff_tags(SIDE_PX, SIDE_PX), **tiles(side_px, side_px, offsets, counts)}, bytes(12_288)
    )


def read(content: bytes) -> NDArray[np.uint8]:
    return decode_tile(content, side_px=SIDE_PX)


N_TILE: Final = 32 * 32 * 3
REFUSED: Final = {
    "1-bit pixels": raw(bytes(99), {258: ("H", [1]), 262: ("H", [1]), 277: ("H", [1])}),
    "1-bit pixels ": grey({258: ("H", [])}),
    "12-bit pixels": colours(t258=("H", [12] * 3)),
    "4-bit pixels": grey({258: ("H", [4])}),
    "32-bit pixels": grey({258: ("H", [32])}),
    "3 channels of 5, 6, 5 bits": colours(t258=("H", [5, 6, 5])),
    "16-bit signed pixels": colours(t258=("H", [16] * 3), t339=("H", [2] * 3)),
    "32-bit floating-point pixels": grey({258: ("H", [32]), 339: ("H", [3])}),
    "64-bit complex pixels": grey({258: ("H", [64]), 339: ("H", [6])}),
    "samples of an unknown format": grey({339: ("H", [9])}),
    "CCITT fax data inside": grey({259: ("H", [4]), 258: ("H", [1])}),
    "old-style JPEG inside": colours(t259=("H", [6])),
    "JPEG 2000 inside": colours(t259=("H", [33003])),
    "WebP inside": colours(t259=("H", [50001])),
    "JPEG XR inside": colours(t259=("H", [22610])),
    "LERC inside": grey({259: ("H", [34887])}),
    "data of compression 12345 inside": colours(t259=("H", [12345])),
    "12-bit JPEG inside": colours(t259=("H", [7]), t258=("H", [12] * 3)),
    "CMYK pixels as JPEG": colours(t259=("H", [7]), t262=("H", [5])),
    "4 channels where RGB JPEG has 3": raw(
        bytes(9), {258: ("H", [8] * 4), 259: ("H", [7]), 277: ("H", [4]), 338: ("H", [2])}
    ),
    "5 channels where greyscale has 1": grey({258: ("H", [8] * 5), 277: ("H", [5])}),
    "5 channels where RGB has 3": colours(t258=("H", [8] * 5), t277=("H", [5])),
    "1 channel where RGB has 3": colours(t258=("H", [8]), t277=("H", [1])),
    "3 channels, 1 of them extra, where RGB has 3": colours(t338=("H", [1])),
    "2 channels where palette has 1": grey(
        {258: ("H", [8] * 2), 262: ("H", [3]), 277: ("H", [2]), 338: ("H", [1])}
    ),
    "an extra sample of kind 7": colours(t258=("H", [8] * 4), t277=("H", [4]), t338=("H", [7])),
    "no photometric interpretation": raw(RGB.tobytes(), without=262),
    "YCbCr pixels": colours(t262=("H", [6])),
    "CIELab pixels": colours(t262=("H", [8])),
    "LogLuv pixels": colours(t262=("H", [32845])),
    "camera raw pixels": grey({262: ("H", [32803])}),
    "transparency mask pixels": grey({262: ("H", [4])}),
    "photometric 99 pixels": grey({262: ("H", [99])}),
    "planar configuration 3": colours(t284=("H", [3])),
    "predictor 2 for this compression or these pixels": colours(t317=("H", [2])),
    "predictor 3 for this compression or these pixels": colours(
        t317=("H", [3]), t259=("H", [5])
    ),
    "bits in reversed order": colours(t266=("H", [2])),
    "a volume": colours(t32997=("I", [2])),
    "colours by index": grey({346: ("H", [1])}),
    "inks other than CMYK": raw(
        bytes(SIDE_PX * SIDE_PX * 4),
        {258: ("H", [8] * 4), 262: ("H", [5]), 277: ("H", [4]), 332: ("H", [2])},
    ),
    "inks of a reduced range": raw(
        bytes(SIDE_PX * SIDE_PX * 4),
        {258: ("H", [8] * 4), 262: ("H", [5]), 277: ("H", [4]), 336: ("H", [10, 200])},
    ),
    "colours of a reduced range": colours(t532=("R", [16, 1, 235, 1] * 3)),
    "a palette of bytes, although TIFF palettes have 16-bit values": grey(
        {262: ("H", [3]), 320: ("H", [i % 256 for i in range(768)])}
    ),
    "8-bit pixels and a palette of 0 colours": grey({262: ("H", [3])}),
    "16-bit pixels and a palette of 256 colours": grey(
        {258: ("H", [16]), 262: ("H", [3]), 320: ("H", list(range(768)))}
    ),
}  # fmt: skip


@pytest.mark.parametrize("found", REFUSED)
def test_pixels_that_are_not_read_are_named(found: str) -> None:
    with pytest.raises(PixelFormatError) as caught:
        read(REFUSED[found])
    assert caught.value.mode == f"TIFF with {found.strip()}"
    assert str(caught.value).startswith(
        f"Images of this kind are not supported: TIFF with {found.strip()}."
    )


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (in_tiles([8, 0, 8, 0], [N_TILE] * 4), "TIFF that lacks 2 of its 4 tiles"),
        (in_tiles([8] * 4, [N_TILE, 0, N_TILE, N_TILE]), "TIFF that lacks 1 of its 4 tiles"),
        (colours(t273=("I", [0])), "TIFF that lacks 1 of its 1 strips"),
        (
            raw(bytes(9), {259: ("H", [5])}, without=279),
            "TIFF whose compressed strips have no byte counts",
        ),
    ],
)
def test_pieces_that_were_never_written_are_named(content: bytes, found: str) -> None:
    with pytest.raises(PixelFormatError) as caught:
        read(content)
    assert caught.value.mode == found


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("n_bytes", [1, 2])
def test_white_is_zero_is_turned(order: str, n_bytes: int) -> None:
    white = (255 - GREY.astype(np.uint16)) * (1 if n_bytes == 1 else 257)
    tags: Tags = {258: ("H", [8 * n_bytes]), 262: ("H", [0]), 277: ("H", [1])}
    content = raw(white.astype(f"{order}u{n_bytes}").tobytes(), tags, order=order)
    assert np.array_equal(read(content)[..., 0], GREY)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int) -> None:
    pixels = picture(64, 96)
    turned = {1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1]}
    upright = turned.get(orientation)
    if upright is None:
        across = pixels.transpose(1, 0, 2)
        upright = {5: across, 6: across[:, ::-1], 7: across[::-1, ::-1], 8: across[::-1]}[
            orientation
        ]
    tags = {**tiff_tags(96, 64), **strips(64, [8], [pixels.size]), 274: ("H", [orientation])}
    tile, header = decode_tile_and_header(tiff(tags, pixels.tobytes()), side_px=64)
    assert (header.height_px, header.width_px) == upright.shape[:2]
    top, left = ((length - 64) // 2 for length in upright.shape[:2])
    assert np.array_equal(tile, upright[top : top + 64, left : left + 64])


def test_extra_channel_without_meaning_is_read_only_if_it_is_opaque() -> None:
    def with_channel(value: int, extra: Tags) -> bytes:
        pixels = np.dstack([RGB, np.full_like(GREY, value)])
        return raw(pixels.tobytes(), {258: ("H", [8] * 4), 277: ("H", [4]), **extra})

    unspecified: tuple[Tags, ...] = ({}, {338: ("H", [0])})
    for extra in unspecified:
        assert np.array_equal(read(with_channel(255, extra)), RGB)
        with pytest.raises(PixelFormatError, match="whose meaning is not specified"):
            read(with_channel(254, extra))


@pytest.mark.parametrize("without", [279, 278, 284, 259])
def test_tags_with_a_default_may_be_absent(without: int) -> None:
    assert np.array_equal(read(raw(RGB.tobytes(), without=without)), RGB)


def test_one_bit_depth_may_stand_for_all_samples() -> None:
    assert np.array_equal(read(raw(RGB.tobytes(), {258: ("H", [8])})), RGB)


def test_black_palette_is_black() -> None:
    assert read(grey({262: ("H", [3]), 320: ("H", [0] * 768)})).max() == 0


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "RGBX", "LA", "CMYK", "I;16"])
def test_what_pillow_writes_is_read_like_its_png(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(GREY.astype(np.uint16) * 257)
        expected = np.dstack([GREY] * 3)
    else:
        image = Image.fromarray(RGB).convert(mode)
        expected = np.asarray(image.convert("RGB"))
    for compression in ("raw", "tiff_lzw"):
        assert np.array_equal(read(encoded("TIFF", image, compression=compression)), expected)


@pytest.mark.parametrize(
    "compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "lzma", "zstd"]
)
def test_strip_that_ends_early_is_damage(compression: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8))
    content = bytearray(encoded("TIFF", noise, compression=compression))
    entry = content.index(struct.pack("<HHI", 279, 4, 1)) + 8
    (n_bytes,) = struct.unpack_from("<I", content, entry)
    struct.pack_into("<I", content, entry, n_bytes // 2)
    with pytest.raises(CorruptTileError):
        read(bytes(content))
