from __future__ import annotations

import io
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.encaps import encapsulate

from app.core.slide_errors import (
    CorruptSlideError,
    SlideError,
    SlideFormatError,
    SlideTooLargeError,
)
from tests.slides.dicom.conftest import opened
from tests.slides.dicom.drawn_dicom import Style, write_level
from tests.slides.mosaic import FALSE_IDS, Pixels

STYLE = Style(uids=("1.2.3", "1.2.4", "1.2.5"))
PIXELS: Pixels = np.full((512, 512, 3), 200, np.uint8)


def write(path: Path, **changes: Any) -> Path:
    """One level of four frames, in a changed style."""
    write_level(PIXELS, 1.0, replace(STYLE, **changes), path)
    return path


def stating(**attributes: Any) -> dict[str, Any]:
    return {"overrides": attributes}


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        (stating(NumberOfFrames=9999), CorruptSlideError, "9999 frames"),
        (stating(NumberOfFrames=0), CorruptSlideError, "16 bytes, not 4 for each of 1"),
        (stating(NumberOfFrames=-4), CorruptSlideError, "-4 frames"),
        (stating(NumberOfFrames=9999) | {"is_sparse": True}, CorruptSlideError, "9999 frames"),
        (stating(NumberOfFrames=3) | {"is_sparse": True}, CorruptSlideError, "more than 3 frames"),
        (stating(Rows=65535, Columns=65535), SlideTooLargeError, "pixels in a frame"),
        (stating(Rows=65535), CorruptSlideError, "needs 2 x 1"),
        (stating(Rows=0), CorruptSlideError, "256 x 0 px"),
        (stating(Rows=1, Columns=1), CorruptSlideError, "needs 512 x 512"),
        (
            stating(Rows=1, Columns=1, TotalPixelMatrixRows=9999, TotalPixelMatrixColumns=9999)
            | {"is_sparse": True},
            SlideTooLargeError,
            "99,980,001 frames",
        ),
        (stating(TotalPixelMatrixRows=2**31), SlideTooLargeError, "pixels"),
        (stating(TotalPixelMatrixRows=None), CorruptSlideError, "header"),
        (stating(SamplesPerPixel=1), SlideFormatError, "1 samples of 8 bits"),
        (stating(BitsAllocated=16), SlideFormatError, "3 samples of 16 bits"),
        (stating(PhotometricInterpretation="MONOCHROME2"), SlideFormatError, "colours"),
        (stating(ConcatenationUID="1.2"), SlideFormatError, "concatenation"),
        (stating(NumberOfOpticalPaths=3), SlideFormatError, "3 optical paths"),
        (stating(TotalPixelMatrixFocalPlanes=5), SlideFormatError, "5 focal planes"),
        (stating(SOPClassUID="1.2.840.10008.5.1.4.1.1.7"), SlideFormatError, "no DICOM image"),
        (stating(ImageType=["ORIGINAL", "PRIMARY"]), SlideFormatError, "no DICOM image"),
        (stating(PixelData=None), CorruptSlideError, "ends before its pixels"),
        (stating(PixelData=encapsulate([b"\xff\xd8"] * 3)), CorruptSlideError, "12 bytes, not 4"),
        (
            stating(PixelData=encapsulate([b"\xff\xd8"] * 3, has_bot=False)),
            CorruptSlideError,
            "4 frames and holds 3",
        ),
        (
            stating(PixelData=bytes(9)) | {"encoding": "raw", "photometric": "RGB"},
            CorruptSlideError,
            "holds 10 bytes",
        ),
        (
            stating(
                ExtendedOffsetTable=struct.pack("<3Q", 0, 1, 2), ExtendedOffsetTableLengths=None
            )
            | {"offsets": "extended"},
            CorruptSlideError,
            "24 bytes, not 8",
        ),
        (
            stating(ExtendedOffsetTable=struct.pack("<4Q", 0, 900, 90, 2**40))
            | {"offsets": "extended"},
            CorruptSlideError,
            "leads nowhere",
        ),
    ],
    ids=lambda value: None if isinstance(value, type) else str(value)[:60],
)
def test_a_forged_header_is_refused_with_the_reason(
    changes: dict[str, Any], error: type[SlideError], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=reason) as raised:
        opened(write(tmp_path / "one.dcm", **changes))
    assert not [word for word in FALSE_IDS if word in str(raised.value)]


@pytest.mark.parametrize(
    "changes", [{}, {"is_sparse": True}, {"offsets": "none"}, {"offsets": "extended"}]
)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_a_truncated_file_is_refused(changes: dict[str, Any], share: float, tmp_path: Path) -> None:
    path = write(tmp_path / "one.dcm", **changes)
    content = path.read_bytes()
    path.write_bytes(content[: round(len(content) * share)])
    with pytest.raises(CorruptSlideError):
        opened(tmp_path)


def test_an_unknown_encoding_is_refused_by_its_name(tmp_path: Path) -> None:
    path = write(tmp_path / "one.dcm")
    jpeg_ls = b"1.2.840.10008.1.2.4.80"
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.4.50", jpeg_ls))
    with pytest.raises(SlideFormatError, match=jpeg_ls.decode()):
        opened(path)


def test_a_folder_must_hold_one_series(tmp_path: Path) -> None:
    write(tmp_path / "one.dcm")
    write(tmp_path / "two.dcm", uids=("1.2.3", "1.2.9", "1.2.5"))
    with pytest.raises(SlideFormatError, match="2 series"):
        opened(tmp_path)


def test_a_folder_must_not_hold_an_object_twice(tmp_path: Path) -> None:
    shutil.copy(write(tmp_path / "one.dcm"), tmp_path / "two.dcm")
    with pytest.raises(SlideFormatError, match="twice"):
        opened(tmp_path)


def test_images_of_one_size_or_of_different_shapes_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "one.dcm")
    write(tmp_path / "two.dcm")
    with pytest.raises(SlideFormatError, match="same size"):
        opened(tmp_path)
    write_level(PIXELS[:, :256], 2.0, STYLE, tmp_path / "two.dcm")
    with pytest.raises(SlideFormatError, match="shape"):
        opened(tmp_path)


@pytest.mark.parametrize("content", [b"", b"text", bytes(128) + b"DICM", bytes(4096)])
def test_a_file_that_is_no_dicom_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "one.dcm").write_bytes(content)
    for path in (tmp_path, tmp_path / "one.dcm"):
        with pytest.raises(SlideError):
            opened(path)


def test_a_folder_without_dicom_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(SlideFormatError, match="no DICOM image"):
        opened(tmp_path)


def test_a_header_of_too_many_parts_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "one.dcm")
    content = path.read_bytes()
    # OpticalPathSequence with many empty items, each of which pydicom would make an object of.
    bomb = struct.pack("<HH2sHL", 0x48, 0x105, b"SQ", 0, 0xFFFFFFFF)
    bomb += struct.pack("<HHL", 0xFFFE, 0xE000, 0) * 100_000
    bomb += struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    at = content.index(struct.pack("<HH2s", 0x48, 0x105, b"SQ"))
    path.write_bytes(content[:at] + bomb + content[at:])
    with pytest.raises(CorruptSlideError, match="no end"):
        opened(path)


def _jpeg(width_px: int, height_px: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (256, 256)).save(stream, "JPEG")
    jpeg = bytearray(stream.getvalue())
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", height_px, width_px)
    return bytes(jpeg)


def _jpeg2000(change: Callable[[bytearray], object]) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (256, 256)).save(stream, "JPEG2000", no_jp2=True)
    jpeg2000 = bytearray(stream.getvalue())
    change(jpeg2000)
    return bytes(jpeg2000)


def _with_tiny_parts(jpeg2000: bytearray) -> None:
    jpeg2000[24:32] = struct.pack(">LL", 1, 1)


def _with_other_size(jpeg2000: bytearray) -> None:
    jpeg2000[8:16] = struct.pack(">LL", 60000, 60000)


@pytest.mark.parametrize(
    ("encoding", "frame", "reason"),
    [
        ("jpeg", _jpeg(65500, 65500), "65500 x 65500 px instead"),
        ("jpeg", _jpeg(256, 255), "256 x 255 px instead"),
        ("jpeg", b"\xff\xd8" + bytes(100), "tile inside"),
        ("jpeg", b"not a JPEG at all", "tile inside"),
        ("jpeg2000", _jpeg2000(_with_tiny_parts), "65536 parts"),
        ("jpeg2000", _jpeg2000(_with_other_size), "another size"),
        ("jpeg2000", b"\x00\x00\x00\x0cjP  ", "no JPEG 2000"),
        ("jpeg2000", _jpeg2000(bytes)[:-2], "ends too early"),
    ],
)
def test_a_forged_frame_is_refused_before_it_is_decoded(
    encoding: Any, frame: bytes, reason: str, tmp_path: Path
) -> None:
    photometric = "YBR_FULL_422" if encoding == "jpeg" else "YBR_RCT"
    overrides = {"PixelData": encapsulate([frame] * 4)}
    path = write(
        tmp_path / "one.dcm", encoding=encoding, photometric=photometric, overrides=overrides
    )
    with opened(path) as source:
        with pytest.raises(CorruptSlideError, match=reason):
            source.read_square((0, 0), 512, 224)
        with pytest.raises(CorruptSlideError, match=reason):
            source.read_overview(512)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.sampled_from([{}, {"is_sparse": True}, {"offsets": "extended"}]),
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=8),
    tail=st.booleans(),
)
def test_flipped_bytes_raise_nothing_but_errors_of_slides(
    changes: dict[str, Any],
    flips: list[tuple[float, int]],
    tail: bool,
    tmp_path: Path,
) -> None:
    name = "-".join(map(str, changes)) or "plain"
    whole = tmp_path / f"{name}.whole"
    if not whole.exists():
        write(whole, **changes)
    content = bytearray(whole.read_bytes())
    # Half of the time only the header, where a flip changes more than a colour.
    span = len(content) if tail else content.index(b"\xff\xd8\xff")
    for at, mask in flips:
        content[132 + int(at * (span - 133))] ^= mask
    path = tmp_path / "one.dcm"
    path.write_bytes(content)
    said = ""
    try:
        with opened(path) as source:
            source.read_square((0, 0), 512, 64)
    except SlideError as error:
        said = str(error)
    assert not [word for word in FALSE_IDS if word in said]
