from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.core.review import ReviewReason
from app.slides.outputs.evidence_overlay import write_overlay
from app.slides.outputs.subject import OutputSubject
from app.slides.tile_rows import TileRow
from tests.slides.outputs.making import CAM_SHAPE, make_subject

COLUMNS, ROWS = 8, 6
PX = 40
"""Side of a tile on the overview."""


@pytest.fixture
def subject(tmp_path: Path) -> OutputSubject:
    """A slide that is exactly its grid, without rows."""
    made = make_subject(tmp_path, COLUMNS, ROWS)
    side = 1000.0
    slide = made.summary.slide.model_copy(
        update={"width_px": round(COLUMNS * side), "height_px": round(ROWS * side)}
    )
    summary = made.summary.model_copy(update={"slide": slide, "tile_side_level0": side})
    return replace(made, summary=summary, rows=[])


def _tile(column: int, row: int, label: int, evidence: float, *reasons: ReviewReason) -> TileRow:
    probabilities = [0.02, 0.02, 0.02]
    probabilities[label] = 0.96
    cam = np.full(CAM_SHAPE, evidence, np.float16).tobytes()
    return TileRow(column, row, 1.0, tuple(probabilities), reasons, 0.1, 0.1, cam)


def _drawn(
    path: Path, subject: OutputSubject, overview: NDArray[np.uint8] | None = None
) -> NDArray[np.int16]:
    """The picture without its legend, RGB."""
    tissue = np.full((ROWS * PX, COLUMNS * PX, 3), (200, 130, 170), np.uint8)
    shown = tissue if overview is None else overview
    write_overlay(path / "overlay.png", shown, subject)
    with Image.open(path / "overlay.png") as picture:
        return np.asarray(picture, np.int16)[: shown.shape[0], : shown.shape[1]]


def _middle(picture: NDArray[np.int16], column: int, row: int) -> NDArray[np.int16]:
    middle: NDArray[np.int16] = picture[row * PX + PX // 2, column * PX + PX // 2]
    return middle


def _colourfulness(pixel: NDArray[np.int16]) -> int:
    return int(pixel.max() - pixel.min())


def test_write_overlay_draws_evidence_in_the_colour_of_the_tiles_label(
    tmp_path: Path, subject: OutputSubject
) -> None:
    rows = [_tile(1, 1, 1, 5), _tile(5, 4, 2, 5)]
    picture = _drawn(tmp_path, replace(subject, rows=rows))
    red, _, blue = _middle(picture, 1, 1)
    assert blue > red + 50
    red, _, blue = _middle(picture, 5, 4)
    assert red > blue + 50
    assert _colourfulness(_middle(picture, 3, 3)) == 0


def test_write_overlay_has_one_scale_for_the_slide(tmp_path: Path, subject: OutputSubject) -> None:
    rows = [_tile(1, 1, 2, 8), _tile(4, 1, 2, 2), _tile(6, 4, 1, 8)]
    picture = _drawn(tmp_path, replace(subject, rows=rows))
    strong, weak = (_colourfulness(_middle(picture, column, 1)) for column in (1, 4))
    assert 0 < weak < 0.6 * strong


def test_write_overlay_does_not_pale_all_tiles_for_one_outlier(
    tmp_path: Path, subject: OutputSubject
) -> None:
    usual = [_tile(column, row, 2, 4) for row in range(ROWS - 1) for column in range(COLUMNS)]
    without = _drawn(tmp_path, replace(subject, rows=usual))
    cam = np.full(CAM_SHAPE, 4, np.float16)
    cam[3, 3] = 4000
    outlier = replace(_tile(0, ROWS - 1, 2, 4), evidence=cam.tobytes())
    with_one = _drawn(tmp_path, replace(subject, rows=[*usual, outlier]))
    assert (_middle(without, 4, 2) == _middle(with_one, 4, 2)).all()


def test_write_overlay_shows_nothing_of_tiles_that_do_not_count(
    tmp_path: Path, subject: OutputSubject
) -> None:
    rows = [_tile(2, 2, 2, 9, ReviewReason.OUT_OF_DISTRIBUTION), TileRow(4, 4, 1.0, error="lost")]
    picture = _drawn(tmp_path, replace(subject, rows=rows))
    assert (np.ptp(picture, axis=2) == 0).all()


def test_write_overlay_shows_nothing_on_glass(tmp_path: Path, subject: OutputSubject) -> None:
    overview = np.full((ROWS * PX, COLUMNS * PX, 3), (200, 130, 170), np.uint8)
    overview[:, : 2 * PX + PX // 2] = 245
    picture = _drawn(tmp_path, replace(subject, rows=[_tile(2, 2, 2, 9)]), overview)
    row = picture[2 * PX + PX // 2]
    assert _colourfulness(row[2 * PX + 5]) == 0
    assert _colourfulness(row[3 * PX - 5]) > 50


def test_write_overlay_says_scale_model_and_notice_in_the_picture_and_the_file(
    tmp_path: Path, subject: OutputSubject
) -> None:
    _drawn(tmp_path, replace(subject, rows=[_tile(1, 1, 2, 6.5)]))
    with Image.open(tmp_path / "overlay.png") as picture:
        assert picture.size[1] > ROWS * PX
        texts = picture.info
    assert "6.5 or more of the logit" in texts["Description"]
    assert "99th percentile" in texts["Description"]
    assert texts["Disclaimer"].startswith("preliminary. Research use only")


def test_write_overlay_fits_a_grid_that_is_larger_or_smaller_than_the_slide(
    tmp_path: Path, subject: OutputSubject
) -> None:
    """A rest of at least half a tile has a tile, a smaller one has none."""
    rows = [_tile(column, row, 2, 5) for column in range(COLUMNS) for row in range(ROWS)]
    for extra in (-0.49, 0.49):
        slide = subject.summary.slide.model_copy(
            update={"width_px": round((COLUMNS + extra) * 1000)}
        )
        summary = subject.summary.model_copy(update={"slide": slide})
        width = round((COLUMNS + extra) * PX)
        overview = np.full((ROWS * PX, width, 3), (200, 130, 170), np.uint8)
        picture = _drawn(tmp_path, replace(subject, rows=rows, summary=summary), overview)
        assert _colourfulness(picture[PX, (COLUMNS - 1) * PX + PX // 4]) > 50
        if extra > 0:
            assert _colourfulness(picture[PX, width - 2]) == 0
