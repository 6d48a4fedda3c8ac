"""A slide that is a DICOM series: a folder of VL Whole Slide Microscopy images, or one of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from app.core.slide_errors import (
    CorruptSlideError,
    ExtraMissingError,
    SlideFormatError,
    SlideResolutionError,
    SlideTooLargeError,
)
from app.core.slide_limits import SlideLimits
from app.slides.dicom_level import DicomLevel, open_level
from app.slides.dicom_squares import read_level_overview, read_level_square
from app.slides.facts import LevelFacts, SlideFacts
from app.slides.source import MIN_TILE_LEVEL_PX

_MAX_FILES: Final = 1000
_PREAMBLE_BYTES: Final = 128
_MAGIC: Final = b"DICM"
_MAX_RATIO: Final = 1.05
"""Of the two axes' resolutions, and of the two axes' downsamples."""


class DicomSource:
    """An opened series; several threads may read at once. See `SlideSource`."""

    def __init__(self, levels: list[DicomLevel], facts: SlideFacts, limits: SlideLimits) -> None:
        """`levels` come largest first."""
        self._levels, self._facts, self._limits = levels, facts, limits

    @property
    def facts(self) -> SlideFacts:
        """What is known of the slide."""
        return self._facts

    def read_square(
        self, location_level0: tuple[int, int], side_level0: float, side_px: int
    ) -> NDArray[np.uint8]:
        """Read a square as the model sees it; see `SlideSource`."""
        min_side = max(MIN_TILE_LEVEL_PX, 2 * side_px)
        level = self._coarsest(lambda level: side_level0 / level.downsample >= min_side)
        x, y = (at / level.downsample for at in location_level0)
        side = side_level0 / level.downsample
        return read_level_square(level, (x, y), side, side_px, self._limits.max_read_pixels)

    def read_overview(self, max_px: int) -> NDArray[np.uint8]:
        """Read the whole slide, reduced; see `SlideSource`."""
        level = self._coarsest(lambda level: max(level.size) >= max_px)
        return read_level_overview(level, max_px)

    def close(self) -> None:
        """Close all files."""
        for level in self._levels:
            level.close()

    def _coarsest(self, is_enough: Callable[[DicomLevel], bool]) -> DicomLevel:
        """The coarsest level that is enough; level 0 if none is."""
        return next(filter(is_enough, reversed(self._levels)), self._levels[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def is_dicom(path: Path) -> bool:
    """Whether a file begins as a DICOM file does (PS3.10, section 7.1)."""
    with path.open("rb") as file:
        return file.read(_PREAMBLE_BYTES + len(_MAGIC))[_PREAMBLE_BYTES:] == _MAGIC


def open_dicom(path: Path, mpp: float | None, limits: SlideLimits) -> DicomSource:
    """Open a series.

    Label, overview and thumbnail are left out, and so are objects of other kinds. No attribute of
    the patient is kept.

    Args:
        path: a folder, of which only the files directly inside are read, or one file.
        mpp: micrometres per pixel of level 0, if the caller states it; it wins over the file's.
        limits: checked before a pixel is read.

    Raises:
        SlideFormatError: no such image, several series, or a kind that is not read.
        SlideTooLargeError: beyond the limits.
        SlideResolutionError: no plausible resolution.
        CorruptSlideError: a file is damaged or incomplete.
        ExtraMissingError: pydicom is not installed.
        OSError: a file cannot be opened.
    """
    if importlib.util.find_spec("pydicom") is None:
        raise ExtraMissingError("DICOM slides", "dicom")
    levels: list[DicomLevel] = []
    try:
        for file in _files(path):
            level = open_level(file, limits)
            if level is not None:
                levels.append(level)
        levels.sort(key=lambda level: level.size, reverse=True)
        _require_one_pyramid(levels, limits)
        facts = _facts(levels, mpp, limits)
    except BaseException:
        for level in levels:
            level.close()
        raise
    return DicomSource(levels, facts, limits)


def _files(path: Path) -> list[Path]:
    """The DICOM files, by name."""
    if not path.is_dir():
        if not is_dicom(path):
            raise SlideFormatError("it is no DICOM file.")
        return [path]
    files = sorted(file for file in path.iterdir() if file.is_file())
    if len(files) > _MAX_FILES:
        raise SlideTooLargeError(len(files), _MAX_FILES, "files")
    found = [file for file in files if is_dicom(file)]
    if any(file.suffix.lower() == ".dcm" for file in set(files).difference(found)):
        raise CorruptSlideError("a file of the folder that is named .dcm is no DICOM file.")
    return found


def _require_one_pyramid(levels: list[DicomLevel], limits: SlideLimits) -> None:
    """Check that the files are one slide's levels, and set their downsamples."""
    if not levels:
        raise SlideFormatError("it holds no DICOM image of a slide's tissue.")
    n_series = len({level.header.series for level in levels})
    if n_series > 1:
        raise SlideFormatError(f"the folder holds {n_series} series; put each into its own.")
    if len(levels) > limits.max_levels:
        raise SlideTooLargeError(len(levels), limits.max_levels, "levels")
    if len({level.header.instance for level in levels}) < len(levels):
        raise SlideFormatError("the folder holds one DICOM object twice.")
    if len({level.size for level in levels}) < len(levels):
        raise SlideFormatError("it has several images of the same size, such as focal planes.")
    width_px, height_px = levels[0].size
    for level in levels:
        across, down = width_px / level.size[0], height_px / level.size[1]
        # A level of a few pixels is rounded by much; it is not read for tiles.
        slack = 1 / min(level.size)
        if not 1 / _MAX_RATIO - slack <= across / down <= _MAX_RATIO + slack:
            raise SlideFormatError("its images differ in shape, so they are not of one slide.")
        level.downsample = (across + down) / 2


def _facts(levels: list[DicomLevel], mpp: float | None, limits: SlideLimits) -> SlideFacts:
    base = levels[0].header
    return SlideFacts(
        format="dicom",
        n_bytes=sum(level.n_bytes for level in levels),
        width_px=base.size[0],
        height_px=base.size[1],
        mpp=_mpp(base.mpp, mpp, limits),
        mpp_source="file" if mpp is None else "caller",
        objective_power=base.objective_power,
        levels=[
            LevelFacts(width_px=level.size[0], height_px=level.size[1], downsample=level.downsample)
            for level in levels
        ],
        reads="jpeg" if all(level.header.encoding == "jpeg" for level in levels) else "frames",
    )


def _mpp(stated: tuple[float, float] | None, mpp: float | None, limits: SlideLimits) -> float:
    between = f"{limits.min_mpp:g} to {limits.max_mpp:g}"
    if mpp is not None:
        if not limits.min_mpp <= mpp <= limits.max_mpp:
            raise SlideResolutionError(f"{mpp:g} is not plausible; slides have {between}.")
        return mpp
    if stated is None:
        raise SlideResolutionError("the file does not state it.")
    if not all(limits.min_mpp <= axis <= limits.max_mpp for axis in stated):
        raise SlideResolutionError(
            f"the file states {stated[0]:g} x {stated[1]:g}; slides have {between}."
        )
    if max(stated) > _MAX_RATIO * min(stated):
        raise SlideResolutionError(
            f"the file states different axes, {stated[0]:g} x {stated[1]:g}."
        )
    return (stated[0] + stated[1]) / 2
