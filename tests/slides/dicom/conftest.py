"""A drawn slide of three cells of tissue and one of glass, and its series."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from app.core.slide_limits import DEFAULT_SLIDE_LIMITS
from app.slides.dicom.source import DicomSource, open_dicom
from tests.slides.dicom.drawn_dicom import Style, write_series
from tests.slides.drawn_slides import (
    GLASS,
    NON_TUMOR,
    NON_VIABLE,
    VIABLE,
    Drawing,
    DrawnSlide,
    drawn_tiles,
)

LABELS = ((VIABLE, NON_VIABLE), (GLASS, NON_TUMOR))

MakeSeries = Callable[[Style], Path]


@pytest.fixture(scope="session")
def slide() -> DrawnSlide:
    """2 x 2 cells at 2 um per pixel: 1024 px a side."""
    drawing = Drawing(columns=2, rows=2, mpp=2.0, labels=LABELS)
    return DrawnSlide(Path(), drawing, LABELS, drawn_tiles())


@pytest.fixture(scope="session")
def make_series(slide: DrawnSlide, tmp_path_factory: pytest.TempPathFactory) -> MakeSeries:
    """Write the slide in a style; the folder must not be changed, since tests share it."""
    folders: dict[str, Path] = {}

    def make(style: Style) -> Path:
        if repr(style) not in folders:
            folders[repr(style)] = tmp_path_factory.mktemp("series")
            write_series(slide, style, folders[repr(style)])
        return folders[repr(style)]

    return make


@pytest.fixture(scope="session")
def series(make_series: MakeSeries) -> Path:
    """The slide as JPEG with a basic offset table."""
    return make_series(Style(uids=("1.2.3", "1.2.4", "1.2.5")))


def opened(path: Path, mpp: float | None = None) -> DicomSource:
    """Open a series with the usual limits."""
    return open_dicom(path, mpp, DEFAULT_SLIDE_LIMITS)
