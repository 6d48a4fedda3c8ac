"""What a DICOM file says about its image of a slide (VL Whole Slide Microscopy, PS3.3 A.32.8).

Only the elements below are read. Attributes of the patient are not among them.
"""

from __future__ import annotations

import logging
import math
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

from app.core.slide_errors import CorruptSlideError, SlideFormatError, SlideTooLargeError
from app.core.slide_limits import SlideLimits
from app.core.tile import DEFAULT_LIMITS
from app.slides.dicom.elements import PER_FRAME_GROUPS

Encoding = Literal["jpeg", "jpeg2000", "raw"]

WHOLE_SLIDE_IMAGE: Final = "1.2.840.10008.5.1.4.1.1.77.1.6"
_IMPLICIT: Final = "1.2.840.10008.1.2"
_ENCODINGS: Final[dict[str, Encoding]] = {
    _IMPLICIT: "raw",
    "1.2.840.10008.1.2.1": "raw",
    "1.2.840.10008.1.2.4.50": "jpeg",
    "1.2.840.10008.1.2.4.51": "jpeg",
    "1.2.840.10008.1.2.4.90": "jpeg2000",
    "1.2.840.10008.1.2.4.91": "jpeg2000",
}
"""Transfer syntaxes that are read."""
_COLOURS: Final[dict[Encoding, tuple[str, ...]]] = {
    "jpeg": ("YBR_FULL_422", "YBR_FULL", "RGB"),
    "jpeg2000": ("YBR_ICT", "YBR_RCT", "RGB", "YBR_FULL"),
    "raw": ("RGB", "YBR_FULL"),
}
_KEYWORDS: Final = (
    *("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "ImageType"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("PlanarConfiguration", "BitsAllocated", "BitsStored", "PixelRepresentation"),
    *("TotalPixelMatrixColumns", "TotalPixelMatrixRows", "TotalPixelMatrixFocalPlanes"),
    *("ImagedVolumeWidth", "ImagedVolumeHeight", "NumberOfOpticalPaths", "OpticalPathSequence"),
    *("DimensionOrganizationType", "SharedFunctionalGroupsSequence", "ConcatenationUID"),
)
_MAX_BYTES: Final = 64 * 1024**2
"""Maximum size of the elements that are read, mostly colour profiles."""
_MAX_READS: Final = 50_000
"""Maximum number of elements and items. pydicom makes an object for each; ordinary headers have
hundreds."""
MAX_FRAMES: Final = 2_000_000
_DAMAGED: Final = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, NotImplementedError),
    *(RecursionError, TypeError, ValueError, struct.error),
)
"""What pydicom raises on damaged files, besides errors of its own."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What one file says.

    Attributes:
        series: UIDs of the study and of the series.
        instance: UID of the file's object.
        size: width and height of the whole image, in pixels.
        tile_size: width and height of a frame, in pixels.
        n_frames: as stated.
        is_sparse: whether each frame states its place; else they come row by row.
        is_implicit: whether elements are written without their value representation.
        encoding: of the frames.
        photometric: DICOM's name for the colours of the frames, before any decoding.
        is_planar: whether raw frames hold all red values first, then all green ones.
        mpp: micrometres per pixel along x and y; None if the file does not state them.
        objective_power: as stated.
    """

    series: tuple[str, str]
    instance: str
    size: tuple[int, int]
    tile_size: tuple[int, int]
    n_frames: int
    is_sparse: bool
    is_implicit: bool
    encoding: Encoding
    photometric: str
    is_planar: bool
    mpp: tuple[float, float] | None
    objective_power: float | None


def read_header(file: BinaryIO, limits: SlideLimits) -> ImageHeader | None:
    """Read a file up to its per-frame functional groups, where the file is then.

    Args:
        file: at its start.
        limits: checked on what the file states; no pixel is read.

    Returns:
        The header; None if the file is no image of the slide's tissue: another kind of object, or
        the label, the overview of the glass or a thumbnail.

    Raises:
        SlideFormatError: an image that is not read, with the reason.
        SlideTooLargeError: beyond the limits.
        CorruptSlideError: damaged, or no DICOM file at all.
    """
    try:
        elements = _read_elements(file)
        if _kind(elements) != WHOLE_SLIDE_IMAGE:
            return None
        kind = list(elements.ImageType)
        if len(kind) < 3 or kind[2] != "VOLUME":
            return None
        header = _describe(elements)
        _require_known_tiling(elements)
    except damage_errors():
        # The cause is left out: pydicom's messages quote values.
        raise CorruptSlideError("its DICOM header cannot be read.") from None
    _require_within_limits(header, limits)
    return header


def damage_errors() -> tuple[type[Exception], ...]:
    """What pydicom, and highdicom behind it, raise on damaged files."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return BytesLengthException, InvalidDicomError, *_DAMAGED


def read_whole_header(path: Path) -> Any:
    """All attributes up to the per-frame functional groups, the patient's included.

    Only for objects that belong beside the slide in its archive and must name the same patient.

    Returns:
        A pydicom data set.

    Raises:
        CorruptSlideError: damaged.
        OSError: the file cannot be opened.
    """
    from pydicom.filereader import read_partial

    _silence_pydicom()
    try:
        with path.open("rb") as file:
            return read_partial(
                _BoundedFile(file),  # type: ignore[arg-type] # as in `_read_elements`
                lambda tag, _, __: tag >= PER_FRAME_GROUPS,
            )
    except damage_errors():
        raise CorruptSlideError("its DICOM header cannot be read.") from None


class _BoundedFile:
    """A file of which pydicom reads a limited part, whatever lengths the elements state."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = _MAX_BYTES
        self._reads_left = _MAX_READS
        self.seek, self.tell = file.seek, file.tell

    def read(self, n_bytes: int = -1) -> bytes:
        self._left -= n_bytes
        self._reads_left -= 1
        if n_bytes < 0 or self._left < 0 or self._reads_left < 0:
            raise CorruptSlideError("its DICOM header has no end.")
        return self._file.read(n_bytes)


def _read_elements(file: BinaryIO) -> Any:
    """The elements of `_KEYWORDS`, as a pydicom data set."""
    from pydicom.datadict import tag_for_keyword
    from pydicom.filereader import read_partial
    from pydicom.tag import BaseTag

    _silence_pydicom()
    tags: list[BaseTag | int] = [BaseTag(tag_for_keyword(word) or 0) for word in _KEYWORDS]
    elements = read_partial(
        _BoundedFile(file),  # type: ignore[arg-type] # reads, seeks and tells are all it needs
        lambda tag, _, __: tag >= PER_FRAME_GROUPS,
        specific_tags=tags,
    )
    syntax = str(elements.file_meta.TransferSyntaxUID)
    if syntax not in _ENCODINGS and _kind(elements) == WHOLE_SLIDE_IMAGE:
        raise SlideFormatError(
            "its frames are encoded in a way that is not read (transfer syntax "
            f"{syntax[:64] if syntax.replace('.', '').isdigit() else 'unknown'}); JPEG, JPEG 2000 "
            "and uncompressed frames are."
        )
    return elements


def _kind(elements: Any) -> str:
    return str(elements.file_meta.MediaStorageSOPClassUID)


def _silence_pydicom() -> None:
    """Keep values of the file out of logs and warnings, in which pydicom quotes what is wrong."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="pydicom")  # which adds nothing the second time


def _describe(elements: Any) -> ImageHeader:
    encoding = _ENCODINGS[str(elements.file_meta.TransferSyntaxUID)]
    photometric = str(elements.PhotometricInterpretation)
    n_samples, n_bits = int(elements.SamplesPerPixel), int(elements.BitsAllocated)
    signed = int(elements.get("PixelRepresentation") or 0)
    if (n_samples, n_bits, signed) != (3, 8, 0):
        raise SlideFormatError(
            f"its pixels have {n_samples} samples of {n_bits} bits; three of 8 bits are read."
        )
    if photometric not in _COLOURS[encoding]:
        raise SlideFormatError(
            f"its colours are not read in {encoding} frames; {', '.join(_COLOURS[encoding])} are."
        )
    size = int(elements.TotalPixelMatrixColumns), int(elements.TotalPixelMatrixRows)
    return ImageHeader(
        series=(str(elements.StudyInstanceUID), str(elements.SeriesInstanceUID)),
        instance=str(elements.SOPInstanceUID),
        size=size,
        tile_size=(int(elements.Columns), int(elements.Rows)),
        n_frames=int(elements.get("NumberOfFrames") or 1),
        is_sparse=elements.get("DimensionOrganizationType") != "TILED_FULL",
        is_implicit=str(elements.file_meta.TransferSyntaxUID) == _IMPLICIT,
        encoding=encoding,
        photometric=photometric,
        is_planar=encoding == "raw" and int(elements.get("PlanarConfiguration") or 0) == 1,
        mpp=_mpp(elements, size),
        objective_power=_objective_power(elements),
    )


def _mpp(elements: Any, size: tuple[int, int]) -> tuple[float, float] | None:
    for groups in elements.get("SharedFunctionalGroupsSequence") or ():
        for measures in groups.get("PixelMeasuresSequence") or ():
            spacing = measures.get("PixelSpacing")
            if isinstance(spacing, Sequence) and len(spacing) == 2:
                between_rows_mm, between_columns_mm = map(float, spacing)
                return between_columns_mm * 1000, between_rows_mm * 1000
    width_mm = elements.get("ImagedVolumeWidth")
    height_mm = elements.get("ImagedVolumeHeight")
    if width_mm is None or height_mm is None or min(size) < 1:
        return None
    # These are 32-bit floats, so that 2 um would read as 2.0000001.
    return round(float(width_mm) * 1000 / size[0], 6), round(float(height_mm) * 1000 / size[1], 6)


def _objective_power(elements: Any) -> float | None:
    for path in elements.get("OpticalPathSequence") or ():
        power = path.get("ObjectiveLensPower")
        return float(power) if power is not None else None
    return None


def _require_known_tiling(elements: Any) -> None:
    if "ConcatenationUID" in elements:
        raise SlideFormatError(
            "a level of it is split over several files (a concatenation), which is not read."
        )
    n_paths = max(
        int(elements.get("NumberOfOpticalPaths") or 1),
        len(elements.get("OpticalPathSequence") or ()),
    )
    if n_paths > 1:
        raise SlideFormatError(f"it has {n_paths} optical paths; slides with one are read.")
    n_planes = int(elements.get("TotalPixelMatrixFocalPlanes") or 1)
    if n_planes > 1:
        raise SlideFormatError(f"it has {n_planes} focal planes; slides with one are read.")


def _require_within_limits(header: ImageHeader, limits: SlideLimits) -> None:
    (width_px, height_px), (columns, rows) = header.size, header.tile_size
    if min(width_px, height_px, columns, rows, header.n_frames) < 1:
        raise CorruptSlideError(
            f"it states {width_px} x {height_px} px in {header.n_frames} frames of "
            f"{columns} x {rows} px."
        )
    if width_px * height_px > limits.max_pixels:
        raise SlideTooLargeError(width_px * height_px, limits.max_pixels, "pixels")
    if columns * rows > DEFAULT_LIMITS.max_pixels:
        raise SlideTooLargeError(columns * rows, DEFAULT_LIMITS.max_pixels, "pixels in a frame")
    n_frames = max(header.n_frames, math.ceil(width_px / columns) * math.ceil(height_px / rows))
    if n_frames > MAX_FRAMES:
        raise SlideTooLargeError(n_frames, MAX_FRAMES, "frames")
