"""Open a slide: OpenSlide decides what is one, and the file's own tiles are read where possible."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from app.core.slide_errors import SlideFormatError, SlideTooLargeError
from app.core.slide_limits import DEFAULT_SLIDE_LIMITS, SlideLimits
from app.slides.facts import LevelFacts, SlideFacts
from app.slides.reading.openslide_handles import OpenSlideHandles
from app.slides.reading.openslide_library import load_openslide
from app.slides.reading.openslide_source import OpenSlideSource
from app.slides.reading.recognition import (
    HEAD_BYTES,
    is_dicom_file,
    require_one_file,
    require_slide,
)
from app.slides.reading.resolution import Resolution, number, ome_resolution, resolve
from app.slides.reading.tiff_directories import is_tiff
from app.slides.reading.tiff_slide import TiffSlide, read_tiff_slide
from app.slides.reading.tiled_level import TiledLevel
from app.slides.reading.tiled_source import TiledSource
from app.slides.source import SlideSource

_HAMAMATSU: Final = "hamamatsu"
_OME_TIFF: Final = "ome-tiff"


def open_slide(
    path: Path,
    mpp: float | None = None,
    limits: SlideLimits = DEFAULT_SLIDE_LIMITS,
    allow_companions: bool = True,
) -> SlideSource:
    """Open a slide. No pixel is decoded.

    Args:
        path: a file, or a folder that holds the files of one DICOM series.
        mpp: micrometres per pixel of level 0, if the file does not state it or is wrong.
        limits: on what is opened.
        allow_companions: whether a file may name other files that belong to it, as those of MIRAX
            and Hamamatsu VMS do. Not for files that strangers send.

    Returns:
        The opened slide, which the caller closes.

    Raises:
        SlideFormatError: not a slide, or a kind that is not read.
        CorruptSlideError: damaged or incomplete.
        SlideTooLargeError: beyond the limits.
        SlideResolutionError: neither the file nor the caller states a plausible resolution.
        ExtraMissingError: OpenSlide is missing or too old.
        OSError: the file cannot be read.
    """
    if path.is_dir():
        return _open_dicom(path, mpp, limits)
    if not stat.S_ISREG(path.stat().st_mode):
        raise SlideFormatError("it is neither a file nor a folder.")
    with ExitStack() as stack:
        file = os.open(path, os.O_RDONLY)
        stack.callback(os.close, file)
        head = os.pread(file, HEAD_BYTES, 0)
        if is_dicom_file(head):
            return _open_dicom(path, mpp, limits)
        openslide = load_openslide()
        detected = openslide.OpenSlide.detect_format(path)
        tiff = None
        if is_tiff(head) and detected != _HAMAMATSU:  # NDPI is not quite a TIFF
            tiff = read_tiff_slide(file, os.fstat(file).st_size, limits)
        vendor = require_slide(head, detected)
        if not allow_companions:
            require_one_file(head)
        handles = OpenSlideHandles(openslide, path)
        stack.callback(handles.close)
        _require_within_limits(handles.level_sizes, limits)
        levels = tiff.jpeg_levels(file, vendor, handles.level_sizes, limits) if tiff else None
        resolution = resolve(_stated_mpp(handles, tiff), mpp, limits)
        facts = _facts(handles, tiff, levels, os.fstat(file).st_size, resolution)
        if levels is None:
            return OpenSlideSource(handles, facts, limits, stack.pop_all().close)
        handles.close()
        return TiledSource(levels, facts, limits, stack.pop_all().close)


def _open_dicom(path: Path, mpp: float | None, limits: SlideLimits) -> SlideSource:
    from app.slides.dicom.source import open_dicom

    return open_dicom(path, mpp, limits)


def _require_within_limits(sizes: Sequence[tuple[int, int]], limits: SlideLimits) -> None:
    if len(sizes) > limits.max_levels:
        raise SlideTooLargeError(len(sizes), limits.max_levels, "levels")
    width, height = sizes[0]
    if width * height > limits.max_pixels:
        raise SlideTooLargeError(width * height, limits.max_pixels, "pixels")


def _facts(
    handles: OpenSlideHandles,
    tiff: TiffSlide | None,
    levels: Sequence[TiledLevel] | None,
    n_bytes: int,
    resolution: Resolution,
) -> SlideFacts:
    sizes, downsamples = handles.level_sizes, handles.downsamples
    if levels is not None:
        sizes = tuple(level.size for level in levels)
        downsamples = tuple(level.downsample for level in levels)
    return SlideFacts(
        format=_OME_TIFF if tiff and tiff.ome_xml else handles.properties["vendor"] or "",
        n_bytes=n_bytes,
        width_px=sizes[0][0],
        height_px=sizes[0][1],
        mpp=resolution.mpp,
        mpp_source=resolution.source,
        objective_power=number(handles.properties["objective-power"]),
        levels=[
            LevelFacts(width_px=width, height_px=height, downsample=downsample)
            for (width, height), downsample in zip(sizes, downsamples, strict=True)
        ],
        reads="openslide" if levels is None else "jpeg",
    )


def _stated_mpp(handles: OpenSlideHandles, tiff: TiffSlide | None) -> tuple[float, float] | None:
    """Micrometres per pixel across and down; OpenSlide does not read those of OME-TIFF."""
    if tiff is not None and (stated := ome_resolution(tiff.ome_xml)):
        return stated
    across, down = (number(handles.properties[f"mpp-{axis}"]) for axis in "xy")
    return None if across is None or down is None else (across, down)
