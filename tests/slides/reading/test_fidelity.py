"""A tile of a slide is the tile that the model was trained on: the same label and nearly the same
probabilities as `decode_tile` leads to for the tile as a file of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from app.slides.opening import open_slide
from tests.slides.drawn_slides import Drawing, DrawnSlide, Tiles, draw_slide
from tests.slides.reading.reference_answers import (
    ReferenceModel,
    mosaic_of,
    real_tiles,
    varied_tiles,
)
from tests.slides.slide_files import without_lower_levels

MAX_MEAN_DIFFERENCE: Final = 0.01
"""Maximum mean difference of a probability. JPEG of lower quality changes more, however it is read:
at quality 75, scans off the grid differ by 0.011."""
OFF_GRID_PX: Final = (517, 333)
"""Where a mosaic begins, so that no cell begins at a tile of the file, at any level."""

AT_10X: Final = Drawing(columns=8, quality=75)
AT_20X: Final = Drawing(kind="svs", mpp=0.5, columns=2, rows=2, quality=90, noise=2)
AT_0_243: Final = Drawing(kind="svs", mpp=0.243, columns=2, rows=2, quality=90, noise=3)
"""Um per pixel, as scanners write that have a camera between 20x and 40x; its tiles are 1053.5 px
wide on the level that is read.
"""

SCANS: Final = {
    "svs": AT_20X,
    "svs-rgb": replace(AT_20X, colours="rgb"),
    "svs-off-grid": replace(AT_20X, offset_px=OFF_GRID_PX, columns=3, rows=3),
    "svs-0.243": AT_0_243,
    "ome": replace(AT_20X, kind="ome"),
}
"""Enlarged, they take many times as long to draw. `make test` compares `svs` and `ome`,
`make test-exhaustive` the others and a large one."""


@pytest.fixture(scope="module")
def model() -> Iterator[ReferenceModel]:
    model = ReferenceModel()
    yield model
    model.close()


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("drawn", 208), marks=pytest.mark.exhaustive),
        pytest.param(("real", 208), marks=[pytest.mark.exhaustive, pytest.mark.real_tiles]),
        pytest.param(("real", 24), marks=pytest.mark.real_tiles),
    ],
    ids=lambda param: "-".join(map(str, param)),
)
def at_10x(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[DrawnSlide, int]:
    """A slide with levels of 1, 2 and more um per pixel, and the number of its tiles."""
    kind, n_tiles = request.param
    tiles = (
        varied_tiles()
        if kind == "drawn"
        else real_tiles(request.getfixturevalue("real_tiles_dir"), n_tiles)
    )
    drawing = replace(AT_10X, rows=n_tiles // AT_10X.columns)
    return _draw(tmp_path_factory.mktemp(kind) / "slide", drawing, tiles), n_tiles


def test_square_of_2_um_per_pixel_is_the_tile(
    model: ReferenceModel, at_10x: tuple[DrawnSlide, int]
) -> None:
    slide, n_tiles = at_10x
    assert _require_same(model, slide) == n_tiles


def test_square_of_1_um_per_pixel_is_the_tile(
    model: ReferenceModel, at_10x: tuple[DrawnSlide, int], tmp_path: Path
) -> None:
    slide, n_tiles = at_10x
    without_lower_levels(slide.path, tmp_path / "slide")
    assert _require_same(model, replace(slide, path=tmp_path / "slide")) == n_tiles


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("svs", "ome") else pytest.mark.exhaustive)
        for name in SCANS
    ],
)
def test_square_of_a_scan_is_the_tile(name: str, model: ReferenceModel, tmp_path: Path) -> None:
    slide = _draw(tmp_path / "slide", SCANS[name], varied_tiles())
    assert _require_same(model, slide) >= 4


@pytest.mark.exhaustive
@pytest.mark.real_tiles
def test_square_of_a_large_scan_is_the_tile(
    model: ReferenceModel, tmp_path: Path, real_tiles_dir: Path
) -> None:
    drawing = replace(AT_0_243, columns=5, rows=5)
    slide = _draw(tmp_path / "slide", drawing, real_tiles(real_tiles_dir))
    assert _require_same(model, slide) >= 25


def _draw(path: Path, drawing: Drawing, tiles: Tiles) -> DrawnSlide:
    labels = mosaic_of(tiles, drawing.columns, drawing.rows)
    return draw_slide(path, replace(drawing, labels=labels), tiles)


def _require_same(model: ReferenceModel, slide: DrawnSlide) -> int:
    """Require the same answers, and return the number of tiles."""
    with closing(open_slide(slide.path)) as source:
        compared = model.compare(source, slide)
    assert compared.n_other_labels == 0
    assert compared.mean_difference <= MAX_MEAN_DIFFERENCE
    return compared.n_tiles
