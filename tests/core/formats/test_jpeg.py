"""JPEG: which files are refused, and which stay in the service's own threads."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from app.core.formats.jpeg import MAX_SEGMENTS, PREDICTABLE_SCANNED_PIXELS, read_jpeg
from app.core.formats.jpeg_scans import MAX_SCANS
from app.core.tile_errors import (
    CorruptTileError,
    PixelFormatError,
    TooManyScansError,
    TooManySegmentsError,
)
from tests.core.formats.files import after_start, encoded, jpeg_segment

PLAIN = encoded("JPEG")
PROGRESSIVE = encoded("JPEG", progressive=True)
END = PROGRESSIVE.rindex(b"\xff\xd9")
LAST_SCAN = PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : END]
N_SCANS = PROGRESSIVE.count(b"\xff\xda")


def with_frame(marker: int = 0xC0, precision: int = 8, size: tuple[int, int] = (64, 64)) -> bytes:
    """The plain file with another frame header; `size` is (width, height)."""
    at = PLAIN.index(b"\xff\xc0")
    head = bytes([0xFF, marker]) + PLAIN[at + 2 : at + 4]
    return PLAIN[:at] + head + struct.pack(">BHH", precision, size[1], size[0]) + PLAIN[at + 9 :]


def with_scans(n_scans: int, between: bytes = b"", size: tuple[int, int] = (64, 64)) -> bytes:
    jpeg = PROGRESSIVE[:END] + (between + LAST_SCAN) * (n_scans - N_SCANS) + PROGRESSIVE[END:]
    at = jpeg.index(b"\xff\xc2") + 5
    return jpeg[:at] + struct.pack(">HH", size[1], size[0]) + jpeg[at + 4 :]


def test_ordinary_file_stays_as_it_is() -> None:
    structure = read_jpeg(PLAIN)
    assert (structure.width_px, structure.height_px, structure.orientation) == (64, 64, 1)
    assert structure.pixel_bytes is PLAIN
    assert structure.is_predictable


@pytest.mark.parametrize(
    ("marker", "mode"),
    [
        (0xC3, "lossless JPEG"),
        (0xDE, "hierarchical JPEG"),
        (0xF7, "JPEG-LS"),
        *((marker, "hierarchical JPEG") for marker in (0xC5, 0xC6, 0xC7)),
        *((m, "arithmetic-coded JPEG") for m in (0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)),
    ],
)
def test_other_encodings_are_refused(marker: int, mode: str) -> None:
    with pytest.raises(PixelFormatError) as caught:
        read_jpeg(with_frame(marker))
    assert caught.value.mode == mode


@pytest.mark.parametrize("precision", [1, 12, 16])
def test_other_precisions_are_refused(precision: int) -> None:
    with pytest.raises(PixelFormatError) as caught:
        read_jpeg(with_frame(precision=precision))
    assert caught.value.mode == f"{precision}-bit JPEG"


FRAME = PLAIN[PLAIN.index(b"\xff\xc0") : PLAIN.index(b"\xff\xc4")]
DAMAGED = {
    "two frames": after_start(PLAIN, FRAME),
    "no frame": PLAIN.replace(FRAME, b""),
    "short frame": PLAIN.replace(FRAME, jpeg_segment(0xC0, b"\x08\0\x40\0")),
    "no scan": PLAIN[: PLAIN.index(b"\xff\xda")],
    "end before a scan": after_start(PLAIN, b"\xff\xd9\0\x02"),
    "length of 1": after_start(PLAIN, b"\xff\xdb\0\1"),
    "preview in a segment of a wrong length": after_start(PLAIN, b"\xff\xe5\0\1", PLAIN),
    "length beyond the end": after_start(PLAIN[:4], b"\xff\xe5\xff\xff"),
    "no marker": after_start(PLAIN, b"\0"),
    "marker 0": after_start(PLAIN, b"\xff\0\0\x02"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_structure_is_refused(name: str) -> None:
    with pytest.raises(CorruptTileError) as caught:
        read_jpeg(DAMAGED[name])
    assert caught.value.format == "JPEG"


def test_restart_marker_before_the_frame_has_no_length() -> None:
    assert read_jpeg(after_start(PLAIN, b"\xff\xd0\xff\x01")).width_px == 64


@pytest.mark.parametrize("segment", [b"\xff\xe5\0\x02", b"\xff\xff\xff\xe5\0\x02", b"\xff\x01"])
def test_segments_are_bounded(segment: bytes) -> None:
    n_own = 1 + PLAIN[: PLAIN.index(b"\xff\xda")].count(b"\xff")  # at least
    assert read_jpeg(after_start(PLAIN, segment * (MAX_SEGMENTS - n_own))).width_px == 64
    with pytest.raises(TooManySegmentsError) as caught:
        read_jpeg(after_start(PLAIN, segment * MAX_SEGMENTS))
    assert (caught.value.format, caught.value.limit_segments) == ("JPEG", MAX_SEGMENTS)


@pytest.mark.parametrize("between", [b"", b"\xff", jpeg_segment(0xFE, b"\xff\xd9")])
def test_scans_are_bounded(between: bytes) -> None:
    """Also if fill bytes precede them, or a comment between them looks like the end."""
    assert read_jpeg(with_scans(MAX_SCANS, between)).width_px == 64
    with pytest.raises(TooManyScansError) as caught:
        read_jpeg(with_scans(MAX_SCANS + 1, between))
    assert caught.value.limit_scans == MAX_SCANS


def test_scans_of_a_large_picture_are_bounded_by_its_pixels() -> None:
    assert read_jpeg(with_scans(25, size=(4096, 4096))).width_px == 4096
    with pytest.raises(TooManyScansError) as caught:
        read_jpeg(with_scans(26, size=(4096, 4096)))
    assert caught.value.limit_scans == 25


def test_one_scan_is_accepted_whatever_the_pixels() -> None:
    assert read_jpeg(with_frame(size=(65_000, 65_000))).width_px == 65_000


def test_markers_behind_the_end_do_not_count() -> None:
    """A camera appends previews or a video, whose bytes may look like scans."""
    video = np.random.default_rng(0).bytes(10_000) + b"\xff\xda" * (MAX_SCANS + 1)
    assert read_jpeg(PLAIN + video).pixel_bytes == PLAIN + video


def test_expensive_file_is_not_predictable() -> None:
    side_px = 4096
    n_scans = PREDICTABLE_SCANNED_PIXELS // side_px**2
    assert read_jpeg(with_frame(size=(side_px, side_px))).is_predictable
    assert n_scans < N_SCANS
    assert not read_jpeg(with_scans(N_SCANS, size=(side_px, side_px))).is_predictable
    assert read_jpeg(with_scans(60, size=(1024, 1024))).is_predictable


@pytest.mark.parametrize("mode", ["L", "CMYK"])
@pytest.mark.parametrize(
    "options", [{"quality": 5}, {"restart_marker_rows": 1}, {"subsampling": 0}]
)
def test_ordinary_variants_are_accepted(mode: str, options: dict[str, int]) -> None:
    jpeg = encoded("JPEG", Image.new(mode, (80, 70)), **options)
    assert (read_jpeg(jpeg).width_px, read_jpeg(jpeg).height_px) == (80, 70)
