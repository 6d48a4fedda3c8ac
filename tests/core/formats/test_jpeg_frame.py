"""JPEG: a file that does not say what its components mean is refused with what it is."""

from __future__ import annotations

import struct

import pytest

from app.core.formats.jpeg_frame import read_frame, require_known_colours
from app.core.tile_errors import CorruptTileError, PixelFormatError

BASELINE, PROGRESSIVE = 0xC0, 0xC2


def frame_header(*factors: int, height: int = 64, precision: int = 8) -> bytes:
    components = b"".join(bytes([i, factor, 0]) for i, factor in enumerate(factors, 1))
    return struct.pack(">BHHB", precision, height, 96, len(factors)) + components


def test_frame_is_read() -> None:
    frame = read_frame(PROGRESSIVE, frame_header(0x22, 0x11, 0x11))
    assert (frame.width_px, frame.height_px, frame.component_ids) == (96, 64, (1, 2, 3))
    assert frame.is_progressive
    assert not read_frame(BASELINE, frame_header(0x11)).is_progressive


@pytest.mark.parametrize("data", [b"", frame_header(0x11)[:5], frame_header(0x11, 0x11)[:-2]])
def test_short_frame_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptTileError):
        read_frame(BASELINE, data)


@pytest.mark.parametrize("factor", [0x00, 0x01, 0x10, 0x51, 0x15])
def test_impossible_sampling_is_refused(factor: int) -> None:
    with pytest.raises(CorruptTileError):
        read_frame(BASELINE, frame_header(0x11, factor, 0x11))


@pytest.mark.parametrize(
    ("header", "mode"),
    [
        (frame_header(0x11, precision=12), "12-bit JPEG"),
        (frame_header(0x11, height=0), "JPEG whose height is stated behind the first scan"),
        (frame_header(0x31, 0x21, 0x21), "JPEG with fractional subsampling"),
        (frame_header(0x13, 0x11, 0x12), "JPEG with fractional subsampling"),
    ],
)
def test_unsupported_frame_is_named(header: bytes, mode: str) -> None:
    with pytest.raises(PixelFormatError) as caught:
        read_frame(BASELINE, header)
    assert caught.value.mode == mode


@pytest.mark.parametrize(
    ("n_components", "has_jfif", "adobe_transform"),
    [
        *((1, has_jfif, adobe) for has_jfif in (False, True) for adobe in (None, 0, 1, 2, 9)),
        *((3, True, adobe) for adobe in (None, 0, 1, 2, 9)),
        *((3, False, adobe) for adobe in (None, 0, 1)),
        *((4, has_jfif, adobe) for has_jfif in (False, True) for adobe in (0, 2)),
    ],
)
def test_known_colours_are_accepted(
    n_components: int, has_jfif: bool, adobe_transform: int | None
) -> None:
    frame = read_frame(BASELINE, frame_header(*[0x11] * n_components))
    require_known_colours(frame, has_jfif, adobe_transform)


@pytest.mark.parametrize(
    ("n_components", "adobe_transform", "mode"),
    [
        (2, None, "JPEG of 2 components"),
        (5, 0, "JPEG of 5 components"),
        (3, 2, "JPEG of 3 components with Adobe transform 2"),
        (4, 1, "JPEG of 4 components with Adobe transform 1"),
        (4, None, "JPEG of 4 components without an Adobe segment"),
    ],
)
def test_unknown_colours_are_named(
    n_components: int, adobe_transform: int | None, mode: str
) -> None:
    frame = read_frame(BASELINE, frame_header(*[0x11] * n_components))
    with pytest.raises(PixelFormatError) as caught:
        require_known_colours(frame, False, adobe_transform)
    assert caught.value.mode == mode
