"""Every kind of WebP decodes to the picture that was encoded."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from app.core.tile import TILE_SIDE_PX, decode_tile
from app.core.tile_errors import CorruptTileError
from tests.core.formats.files import encoded, extended_webp, picture, webp, webp_chunk

SMOOTH = picture(TILE_SIDE_PX, TILE_SIDE_PX) // 2 + 64
ALPHA = np.arange(TILE_SIDE_PX, dtype=np.uint8)[:, None].repeat(TILE_SIDE_PX, axis=1)


def smooth_webp(lossless: bool, with_alpha: bool = False) -> bytes:
    pixels = np.dstack([SMOOTH, ALPHA]) if with_alpha else SMOOTH
    return encoded("WEBP", Image.fromarray(pixels), lossless=lossless, quality=95, exact=True)


@pytest.mark.parametrize("with_alpha", [False, True], ids=["opaque", "alpha"])
@pytest.mark.parametrize("lossless", [False, True], ids=["lossy", "lossless"])
def test_picture_decodes(lossless: bool, with_alpha: bool) -> None:
    alpha = ALPHA[..., None] / 255 if with_alpha else 1.0
    difference = np.abs(
        decode_tile(smooth_webp(lossless, with_alpha)) - (SMOOTH * alpha + 255 * (1 - alpha))
    )
    assert difference.mean() < 1.5
    assert difference.max() < (2 if lossless else 8)


def with_size(content: bytes, n_bytes: int) -> bytes:
    return content[:4] + struct.pack("<I", n_bytes) + content[8:]


@pytest.mark.parametrize("lossless", [False, True], ids=["lossy", "lossless"])
@pytest.mark.parametrize("with_alpha", [False, True], ids=["opaque", "alpha"])
def test_what_is_no_pixel_changes_nothing(lossless: bool, with_alpha: bool) -> None:
    plain = smooth_webp(lossless, with_alpha)
    expected = decode_tile(plain)
    image = webp(plain[12:]) if plain[12:16] == b"VP8X" else extended_webp(plain, 0, side_px=224)
    flags_at = 20
    assert image[12:16] == b"VP8X"
    claims_all = image[:flags_at] + bytes([image[flags_at] | 0x2C]) + image[flags_at + 1 :]
    for name, changed in {
        "bytes behind the end": plain + b"junk" * 50,
        "size too large": with_size(plain, len(plain) + 100),
        "size too small": with_size(plain, len(plain) - 40),
        "size of zero": with_size(plain, 0),
        "flags without chunks": claims_all,
        "garbled EXIF": claims_all + webp_chunk(b"EXIF", b"garbled"),
        "EXIF that is cut": claims_all + b"EXIF" + struct.pack("<I", 9999) + b"abc",
        "garbled XMP and profile": claims_all
        + webp_chunk(b"XMP ", b"<")
        + webp_chunk(b"ICCP", b""),
        "unknown chunk": image + webp_chunk(b"abcd", b"x" * 99),
    }.items():
        assert np.array_equal(decode_tile(changed), expected), name


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("lossless", [False, True], ids=["lossy", "lossless"])
def test_truncated_picture_is_refused(lossless: bool, share: float) -> None:
    content = smooth_webp(lossless)
    with pytest.raises(CorruptTileError) as caught:
        decode_tile(content[: int(len(content) * share)])
    assert caught.value.format == "WEBP"
