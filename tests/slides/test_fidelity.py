"""A tile of a slide is the tile that the model was trained on: the same label and nearly the same
probabilities as `decode_tile` leads to for the tile as a file of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from app.slides.opening import open_slide
from tests.slides.drawn_slides import Drawing, Tiles, draw_slide
from tests.slides.reference_answers import ReferenceModel, mosaic_of, real_tiles, varied_tiles

MAX_MEAN_DIFFERENCE: Final = 0.01
"""Of a probability. What a scanner's JPEG of lower quality changes is no fault of the reading: at
quality 75, scans off the grid differ by 0.011."""
OFF_GRID_PX: Final = (517, 333)
"""Where a mosaic begins, so that no cell begins at a tile of the file, at any level."""

FROM_10X: Final = Drawing(columns=8, rows=26, quality=75, has_pyramid=False)
FROM_2_UM: Final = replace(FROM_10X, has_pyramid=True)
AT_20X: Final = Drawing(kind="svs", mpp=0.5, columns=4, rows=3, quality=90, noise=2)
AT_0_243: Final = Drawing(kind="svs", mpp=0.243, columns=3, rows=2, quality=90, noise=3)
"""Um per pixel, as scanners write that have a camera between 20x and 40x."""

LARGE: Final = {"generic-10x": FROM_10X, "generic-2-um": FROM_2_UM}
SMALL: Final = {
    "svs": AT_20X,
    "svs-rgb": replace(AT_20X, colours="rgb"),
    "svs-off-grid": replace(AT_20X, offset_px=OFF_GRID_PX),
    "svs-0.243": replace(AT_0_243, offset_px=OFF_GRID_PX),
    "ome": replace(AT_20X, kind="ome"),
}
"""Enlarged, they take many times as long to draw; `make test-exhaustive` draws large ones."""


@pytest.fixture(scope="module")
def model() -> Iterator[ReferenceModel]:
    model = ReferenceModel()
    yield model
    model.close()


@pytest.mark.parametrize("name", [*LARGE, *SMALL])
def test_square_is_the_tile(name: str, model: ReferenceModel, tmp_path: Path) -> None:
    drawing = {**LARGE, **SMALL}[name]
    n_tiles = _compare(model, tmp_path / "slide", drawing, varied_tiles())
    assert n_tiles >= (200 if name in LARGE else 2)


@pytest.mark.real_tiles
@pytest.mark.parametrize("name", LARGE)
def test_square_is_the_real_tile(
    name: str, model: ReferenceModel, tmp_path: Path, real_tiles_dir: Path
) -> None:
    assert _compare(model, tmp_path / "slide", LARGE[name], real_tiles(real_tiles_dir)) >= 200


@pytest.mark.exhaustive
@pytest.mark.real_tiles
@pytest.mark.parametrize(
    ("name", "columns", "rows"), [("svs", 8, 26), ("svs-off-grid", 9, 27), ("svs-0.243", 8, 9)]
)
def test_square_is_the_real_tile_of_a_scan(
    name: str,
    columns: int,
    rows: int,
    model: ReferenceModel,
    tmp_path: Path,
    real_tiles_dir: Path,
) -> None:
    large = replace(SMALL[name], columns=columns, rows=rows)
    _compare(model, tmp_path / "slide", large, real_tiles(real_tiles_dir))


def _compare(model: ReferenceModel, path: Path, drawing: Drawing, tiles: Tiles) -> int:
    """Require the same answers, and return the number of tiles."""
    labels = mosaic_of(tiles, drawing.columns, drawing.rows)
    slide = draw_slide(path, replace(drawing, labels=labels), tiles)
    source = open_slide(slide.path)
    compared = model.compare(source, slide)
    source.close()
    assert compared.n_other_labels == 0
    assert compared.mean_difference <= MAX_MEAN_DIFFERENCE
    return compared.n_tiles
