"""A slide that is a DICOM series: a folder of VL Whole Slide Microscopy images, or one of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from app.core.slide_errors import (
    CorruptSlideError,
    ExtraMissingError,
    SlideFormatError,
    SlideTooLargeError,
)
from app.core.slide_limits import SlideLimits
from app.slides.dicom.header import ImageHeader
from app.slides.dicom.level import DicomLevel, open_level
from app.slides.facts import LevelFacts, SlideFacts
from app.slides.reading.recognition import HEAD_BYTES, is_dicom_file
from app.slides.reading.resolution import resolve
from app.slides.reading.tiled_source import TiledSource

_MAX_FILES: Final = 1000
_MAX_RATIO: Final = 1.05
"""Maximum ratio of the downsamples of both axes."""


class DicomSource(TiledSource):
    """An opened series; several threads may read at once. See `SlideSource`."""

    def __init__(
        self, levels: Sequence[DicomLevel], facts: SlideFacts, limits: SlideLimits
    ) -> None:
        """`levels` come finest first."""
        super().__init__(levels, facts, limits, lambda: _close(levels))
        self._headers = [level.header for level in levels]
        self._paths = [level.path for level in levels]

    @property
    def headers(self) -> Sequence[ImageHeader]:
        """What is kept of each file, finest level first."""
        return self._headers

    @property
    def paths(self) -> Sequence[Path]:
        """The files that are read, finest level first."""
        return self._paths

    @property
    def level0_path(self) -> Path:
        """The file of the largest level, to which annotations refer."""
        return self._paths[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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
        _close(levels)
        raise
    return DicomSource(levels, facts, limits)


def _files(path: Path) -> list[Path]:
    """The DICOM files, by name."""
    if not path.is_dir():
        if not _is_dicom(path):
            raise SlideFormatError("it is no DICOM file.")
        return [path]
    files = sorted(file for file in path.iterdir() if file.is_file())
    if len(files) > _MAX_FILES:
        raise SlideTooLargeError(len(files), _MAX_FILES, "files")
    found = [file for file in files if _is_dicom(file)]
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
    resolution = resolve(base.mpp, mpp, limits)
    return SlideFacts(
        format="dicom",
        n_bytes=sum(level.n_bytes for level in levels),
        width_px=base.size[0],
        height_px=base.size[1],
        mpp=resolution.mpp,
        mpp_source=resolution.source,
        objective_power=base.objective_power,
        levels=[
            LevelFacts(width_px=level.size[0], height_px=level.size[1], downsample=level.downsample)
            for level in levels
        ],
        reads="jpeg" if all(level.header.encoding == "jpeg" for level in levels) else "frames",
    )


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return is_dicom_file(file.read(HEAD_BYTES))


def _close(levels: Sequence[DicomLevel]) -> None:
    for level in levels:
        level.close()
