"""A tile of a DICOM slide leads to the answer that the same tile leads to as a file of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.slides.dicom.conftest import opened
from tests.slides.dicom.drawn_dicom import Style, write_level
from tests.slides.drawn_slides import Drawing, DrawnSlide, Tiles
from tests.slides.reading.reference_answers import (
    ReferenceModel,
    mosaic_of,
    real_tiles,
    varied_tiles,
)

MAX_MEAN_DIFFERENCE: Final = 0.01
"""Maximum mean difference of a probability."""
COLUMNS: Final = 4
BAND_ROWS: Final = 2
"""A slide is drawn in bands, each a series of its own, so that memory stays small."""

UIDS: Final = ("1.2.3", "1.2.4", "1.2.5")
JPEG: Final = Style(uids=UIDS)
JPEG_RGB: Final = Style(photometric="RGB", uids=UIDS)
JPEG_2000: Final = Style(encoding="jpeg2000", photometric="YBR_ICT", uids=UIDS)
RAW: Final = Style(encoding="raw", photometric="RGB", uids=UIDS)


@pytest.fixture(scope="module")
def model() -> Iterator[ReferenceModel]:
    model = ReferenceModel()
    yield model
    model.close()


@pytest.mark.parametrize(
    ("style", "mpp", "rows"),
    [
        *((JPEG, 1.0, 2), (JPEG, 2.0, 2), (JPEG_RGB, 1.0, 2)),
        *((JPEG_2000, 2.0, 2), (RAW, 1.0, 2)),
        pytest.param(JPEG, 1.0, 52, marks=pytest.mark.exhaustive),
        pytest.param(JPEG, 2.0, 52, marks=pytest.mark.exhaustive),
        *(
            pytest.param(style, mpp, 4, marks=pytest.mark.exhaustive)
            for style, mpp in (
                *((JPEG, 0.5), (JPEG_RGB, 1.0), (JPEG_2000, 1.0), (JPEG_2000, 2.0)),
                *((RAW, 1.0), (RAW, 2.0)),
            )
        ),
    ],
)
def test_square_is_the_tile(
    style: Style, mpp: float, rows: int, model: ReferenceModel, tmp_path: Path
) -> None:
    compare(model, tmp_path, varied_tiles(), style, mpp, rows)


@pytest.mark.real_tiles
@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("style", "mpp", "rows"), [(JPEG, 1.0, 52), (JPEG, 2.0, 52), (JPEG_2000, 1.0, 12)]
)
def test_square_is_the_real_tile(
    style: Style,
    mpp: float,
    rows: int,
    model: ReferenceModel,
    tmp_path: Path,
    real_tiles_dir: Path,
) -> None:
    compare(model, tmp_path, real_tiles(real_tiles_dir), style, mpp, rows)


def compare(
    model: ReferenceModel, folder: Path, tiles: Tiles, style: Style, mpp: float, rows: int
) -> None:
    """Require the same label of each tile, and nearly the same probabilities on the whole."""
    labels = mosaic_of(tiles, COLUMNS, rows)
    differences = []
    for first in range(0, rows, BAND_ROWS):
        band = labels[first : first + BAND_ROWS]
        drawing = Drawing(columns=COLUMNS, rows=len(band), mpp=mpp, labels=band)
        slide = DrawnSlide(folder, drawing, band, tiles)
        path = folder / "level1.dcm"
        write_level(slide.region(0, 0, *slide.size), mpp, style, path)
        with opened(path) as source:
            compared = model.compare(source, slide)
        assert compared.n_tiles == COLUMNS * len(band)
        assert compared.n_other_labels == 0
        differences.append(compared.mean_difference)
    assert sum(differences) / len(differences) <= MAX_MEAN_DIFFERENCE
