"""Drawn slides as DICOM series: VL Whole Slide Microscopy images of every kind that is read."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import UID, generate_uid

from tests.slides.dicom.dicom_attributes import common_attributes, functional_groups
from tests.slides.jpeg_parts import encode_in_parts, whole_jpeg
from tests.slides.mosaic import FALSE_IDS, DrawnSlide, Pixels

Encoding = Literal["jpeg", "jpeg2000", "raw"]

_SYNTAXES: Final[dict[Encoding, str]] = {
    "jpeg": "1.2.840.10008.1.2.4.50",
    "jpeg2000": "1.2.840.10008.1.2.4.91",
    "raw": "1.2.840.10008.1.2.1",
}
IMPLICIT: Final = "1.2.840.10008.1.2"
_GLASS_LEVEL: Final = 243
_MIN_LEVEL_PX: Final = 200


@dataclass(frozen=True, slots=True)
class Style:
    """How the pixels of a series are written.

    Attributes:
        encoding: of the frames.
        photometric: DICOM's name for their colours; the frames are made to fit.
        offsets: which table says where the frames are.
        n_fragments: of each frame.
        is_sparse: whether each frame states its place; frames of bare glass are left out then.
        tile_px: side of a frame.
        is_planar: raw frames have all red values first.
        is_implicit: elements are written without their value representation; raw frames only.
        states: whether the resolution is stated as a spacing, as the size of the volume, or not.
        quality: of JPEG.
        uids: of study, series and frame of reference.
        name: of the patient.
        overrides: attributes of each file by keyword; None takes one away.
    """

    encoding: Encoding = "jpeg"
    photometric: str = "YBR_FULL_422"
    offsets: Literal["none", "basic", "extended"] = "basic"
    n_fragments: int = 1
    is_sparse: bool = False
    tile_px: int = 256
    is_planar: bool = False
    is_implicit: bool = False
    states: Literal["spacing", "volume", "nothing"] = "spacing"
    quality: int = 80
    uids: tuple[str, str, str] = field(
        default_factory=lambda: (generate_uid(), generate_uid(), generate_uid())
    )
    name: str = FALSE_IDS[0]
    overrides: dict[str, Any] = field(default_factory=dict)


def write_series(slide: DrawnSlide, style: Style, folder: Path) -> list[Path]:
    """Write a slide's levels, and label, overview and thumbnail, which show a false name.

    Returns:
        The files of the levels, the largest first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pixels = slide.region(0, 0, *slide.size)
    paths, step = [], 1
    while step == 1 or (slide.drawing.has_pyramid and max(slide.size) // step >= _MIN_LEVEL_PX):
        level = pixels if step == 1 else np.asarray(Image.fromarray(pixels).reduce(step))
        paths.append(folder / f"level{step}.dcm")
        write_level(level, slide.drawing.mpp * step, style, paths[-1], is_base=step == 1)
        step *= 2
    for kind in ("LABEL", "OVERVIEW", "THUMBNAIL"):
        write_level(
            _picture(), slide.drawing.mpp * 100, style, folder / f"{kind.lower()}.dcm", kind
        )
    return paths


def write_level(
    pixels: Pixels,
    mpp: float,
    style: Style,
    path: Path,
    kind: str = "VOLUME",
    is_base: bool = True,
) -> None:
    """Write one image.

    Args:
        pixels: uint8 `[h, w, 3]`, RGB.
        mpp: micrometres per pixel.
        style: of the file.
        path: the file.
        kind: third value of its image type.
        is_base: whether it is the scan itself.
    """
    blocks = _blocks(pixels, style)
    frames = [_encoded(block, style) for _, block in blocks]
    elements = common_attributes(style.uids, style.name, generate_uid())
    elements.ImageType = ["ORIGINAL" if is_base else "DERIVED", "PRIMARY", kind]
    elements.ImageType += ["NONE" if is_base else "RESAMPLED"]
    elements.Rows = elements.Columns = style.tile_px
    elements.NumberOfFrames = len(frames)
    elements.TotalPixelMatrixRows, elements.TotalPixelMatrixColumns = pixels.shape[:2]
    elements.PhotometricInterpretation = style.photometric
    elements.PlanarConfiguration = int(style.is_planar)
    elements.LossyImageCompression = "00" if style.encoding == "raw" else "01"
    if style.encoding != "raw":
        elements.LossyImageCompressionRatio = 10
        elements.LossyImageCompressionMethod = {
            "jpeg": "ISO_10918_1",
            "jpeg2000": "ISO_15444_1",
        }[style.encoding]
    elements.DimensionOrganizationType = "TILED_SPARSE" if style.is_sparse else "TILED_FULL"
    if style.states != "nothing":
        elements.ImagedVolumeWidth = pixels.shape[1] * mpp / 1000
        elements.ImagedVolumeHeight = pixels.shape[0] * mpp / 1000
    spacing_mm = mpp / 1000 if style.states == "spacing" else None
    functional_groups(elements, spacing_mm, [at for at, _ in blocks] if style.is_sparse else None)
    _add_pixels(elements, frames, style)
    for keyword, value in style.overrides.items():
        if value is None:
            del elements[keyword]
        else:
            setattr(elements, keyword, value)
    save(elements, path, IMPLICIT if style.is_implicit else _SYNTAXES[style.encoding])


def save(elements: Dataset, path: Path, syntax: str) -> None:
    """Write a data set as a file."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = elements.SOPClassUID
    meta.MediaStorageSOPInstanceUID = elements.SOPInstanceUID
    meta.TransferSyntaxUID = UID(syntax)
    elements.file_meta = meta
    elements.save_as(path, enforce_file_format=True)


def _blocks(pixels: Pixels, style: Style) -> list[tuple[tuple[int, int], Pixels]]:
    """Column and row of the upper left pixel of each frame, from 1, and its pixels."""
    side = style.tile_px
    height, width = (-(-length // side) * side for length in pixels.shape[:2])
    padding = ((0, height - pixels.shape[0]), (0, width - pixels.shape[1]), (0, 0))
    padded = np.pad(pixels, padding, mode="edge")
    blocks = [
        ((x + 1, y + 1), padded[y : y + side, x : x + side])
        for y in range(0, height, side)
        for x in range(0, width, side)
    ]
    if not style.is_sparse:
        return blocks
    kept = [block for block in blocks if (block[1] != _GLASS_LEVEL).any()]
    return kept[::-1]  # any order is allowed


def _encoded(block: Pixels, style: Style) -> bytes:
    if style.encoding == "jpeg":
        return encode_jpeg(block, style.photometric, style.quality)
    if style.encoding == "jpeg2000":
        return _encode_jpeg2000(block, style.photometric)
    if style.photometric == "YBR_FULL":
        block = np.asarray(Image.fromarray(block).convert("YCbCr"))
    return np.ascontiguousarray(block.transpose(2, 0, 1) if style.is_planar else block).tobytes()


def encode_jpeg(block: Pixels, photometric: str, quality: int) -> bytes:
    """RGB has no marker that says so, as scanners write it."""
    if photometric == "RGB":
        return whole_jpeg(encode_in_parts(block, quality, "rgb"))
    stream = io.BytesIO()
    subsampling = {"YBR_FULL_422": 1, "YBR_FULL": 0}[photometric]
    Image.fromarray(block).save(stream, "JPEG", quality=quality, subsampling=subsampling)
    return stream.getvalue()


def _encode_jpeg2000(block: Pixels, photometric: str) -> bytes:
    image = Image.fromarray(block)
    if photometric == "YBR_FULL":
        samples = np.asarray(image.convert("YCbCr"))
        image = Image.fromarray(np.ascontiguousarray(samples))  # three samples without a meaning
    stream = io.BytesIO()
    image.save(
        stream,
        "JPEG2000",
        no_jp2=True,
        mct=int(photometric in ("YBR_ICT", "YBR_RCT")),
        irreversible=photometric != "YBR_RCT",
        quality_mode="rates",
        quality_layers=[6],
    )
    return stream.getvalue()


def _add_pixels(elements: Dataset, frames: Sequence[bytes], style: Style) -> None:
    if style.encoding == "raw":
        elements.PixelData = b"".join(frames)
    elif style.offsets == "extended":
        parts = encapsulate_extended(list(frames))
        elements.PixelData, elements.ExtendedOffsetTable = parts[:2]
        elements.ExtendedOffsetTableLengths = parts[2]
    else:
        elements.PixelData = encapsulate(
            list(frames), style.n_fragments, has_bot=style.offsets == "basic"
        )
    elements["PixelData"].VR = "OB"
    elements["PixelData"].is_undefined_length = style.encoding != "raw"


def _picture() -> Pixels:
    image = Image.new("RGB", (256, 256), "white")
    ImageDraw.Draw(image).text((20, 40), "\n".join(FALSE_IDS), fill="black", font_size=32)
    return np.asarray(image)
