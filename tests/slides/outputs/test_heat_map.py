from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.slides.outputs.colours import EXCLUDED, label_colours, opacity_of
from app.slides.outputs.heat_map import TILE_PX, write_heat_map, write_heat_map_facts
from app.slides.outputs.subject import OutputSubject
from tests.slides.outputs.making import make_subject


@pytest.fixture
def subject(tmp_path: Path) -> OutputSubject:
    return make_subject(tmp_path)


def _picture(path: Path, subject: OutputSubject) -> NDArray[np.uint8]:
    write_heat_map(path / "heatmap.png", subject)
    with Image.open(path / "heatmap.png") as picture:
        assert picture.mode == "RGBA"
        return np.asarray(picture)


def _facts(path: Path, subject: OutputSubject) -> dict[str, Any]:
    write_heat_map_facts(path / "heatmap.json", subject)
    document: dict[str, Any] = json.loads((path / "heatmap.json").read_text(encoding="utf-8"))
    return document


def _squares(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`[rows, columns, TILE_PX, TILE_PX, 4]`."""
    rows, columns = (n // TILE_PX for n in picture.shape[:2])
    return picture.reshape(rows, TILE_PX, columns, TILE_PX, 4).swapaxes(1, 2)


def test_write_heat_map_shows_class_and_probability_of_each_tile_that_counts(
    tmp_path: Path, subject: OutputSubject
) -> None:
    squares = _squares(_picture(tmp_path, subject))
    assert squares.shape[:2] == (subject.grid.rows, subject.grid.columns)
    colours = label_colours(subject.manifest.labels)
    for row in subject.rows:
        if row.class_index is not None and row.excluded_by is None:
            alpha = round(255 * opacity_of(max(row.probabilities), 3))
            assert (squares[row.row, row.column] == (*colours[row.class_index], alpha)).all()


def test_write_heat_map_is_transparent_where_there_is_no_tissue(
    tmp_path: Path, subject: OutputSubject
) -> None:
    is_empty = np.ones((subject.grid.rows, subject.grid.columns), bool)
    for row in subject.rows:
        is_empty[row.row, row.column] = False
    opacities = _squares(_picture(tmp_path, subject))[..., 3].max(axis=(2, 3))
    assert ((opacities == 0) == is_empty).all()


def test_write_heat_map_hatches_what_is_left_out_and_crosses_what_is_unreadable(
    tmp_path: Path, subject: OutputSubject
) -> None:
    squares = _squares(_picture(tmp_path, subject))
    excluded = next(row for row in subject.rows if row.excluded_by is not None)
    unreadable = next(row for row in subject.rows if row.error is not None)
    hatched = squares[excluded.row, excluded.column]
    crossed = squares[unreadable.row, unreadable.column]
    assert (hatched[..., :3] == EXCLUDED).all()
    lines = np.unique(hatched[..., 3], return_counts=True)
    assert len(lines[0]) == 2
    assert len(np.unique(crossed[..., 3])) == 2
    assert (crossed[..., 3] > 128).sum() > (hatched[..., 3] > 128).sum()


def test_write_heat_map_facts_place_a_tile_where_the_grid_does(
    tmp_path: Path, subject: OutputSubject
) -> None:
    facts = _facts(tmp_path, subject)
    affine = np.array(facts["affine"])
    assert affine.shape == (2, 3)
    for row in subject.rows:
        corner = affine @ (row.column * facts["tile_px"], row.row * facts["tile_px"], 1)
        expected = subject.grid.location_level0(row.column, row.row)
        assert corner == pytest.approx(expected, abs=0.5)
    assert (facts["height_px"], facts["width_px"]) == _picture(tmp_path, subject).shape[:2]


def test_write_heat_map_facts_name_labels_and_colours(
    tmp_path: Path, subject: OutputSubject
) -> None:
    facts = _facts(tmp_path, subject)
    assert [label["id"] for label in facts["labels"]] == list(subject.manifest.label_ids)
    assert facts["labels"][2]["colour"] == "#d55e00"
    assert facts["status"] == "preliminary"
    assert facts["notice"].startswith("Research use only")


def test_write_heat_map_says_in_the_file_that_it_is_preliminary(
    tmp_path: Path, subject: OutputSubject
) -> None:
    _picture(tmp_path, subject)
    with Image.open(tmp_path / "heatmap.png") as picture:
        texts = picture.info
    assert texts["Disclaimer"] == f"preliminary. {subject.summary.notice}"
    assert texts["Slide-SHA-256"] == subject.summary.sha256
