"""Squares and overviews of drawn slides, by either reader."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.core.slide_errors import SlideTooLargeError
from app.core.slide_limits import SlideLimits
from app.slides.opening import open_slide
from app.slides.reading.levels import level_for_overview, level_for_square
from app.slides.source import SlideSource
from tests.slides.drawn_slides import FALSE_IDS, Drawing, DrawnSlide, draw_slide

SIDE_PX: Final = 224
FILE_NAME: Final = "roe-richard.svs"
SMALL: Final = Drawing(columns=2, rows=2, mpp=2.0, tissue=1.0, non_tumor=0.25)
DRAWINGS: Final = {
    "generic": SMALL,
    "generic without lower levels": replace(SMALL, has_pyramid=False),
    "generic, tables in each tile": replace(SMALL, tables_apart=False),
    "generic, RGB": replace(SMALL, colours="rgb"),
    "generic, tiles of 240 px": replace(SMALL, tile_px=240),
    "svs": replace(SMALL, kind="svs", mpp=0.5, columns=1),
    "svs, RGB": replace(SMALL, kind="svs", mpp=0.5, columns=1, colours="rgb"),
    "svs, off the grid": replace(SMALL, kind="svs", mpp=0.5, columns=1, offset_px=(131, 57)),
    "svs, 0.972": replace(SMALL, kind="svs", mpp=0.972),
    "ome": replace(SMALL, kind="ome"),
    "deflate, by OpenSlide": replace(SMALL, compression="deflate"),
    "svs of LZW, by OpenSlide": replace(SMALL, kind="svs", mpp=0.5, columns=1, compression="lzw"),
}
MAX_DIFFERENCE: Final = 6.0
"""Mean difference in grey levels from the drawing; wrong colours differ by 39."""


@pytest.fixture(scope="module", params=DRAWINGS)
def slide(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DrawnSlide:
    path = tmp_path_factory.mktemp("slide") / FILE_NAME
    return draw_slide(path, DRAWINGS[request.param])


@pytest.fixture(scope="module")
def source(slide: DrawnSlide) -> Iterator[SlideSource]:
    source = open_slide(slide.path)
    yield source
    source.close()


def _expected(
    slide: DrawnSlide, location: tuple[int, int], side: float, side_px: int = SIDE_PX
) -> NDArray[np.uint8]:
    """The square by the drawing, white outside of the slide."""
    x, y = location
    n_px = round(side)
    pixels = np.full((n_px, n_px, 3), 255, np.uint8)
    left, top = max(0, -x), max(0, -y)
    width, height = min(n_px, slide.size[0] - x), min(n_px, slide.size[1] - y)
    if left < width and top < height:
        inside = slide.region(x + left, y + top, width - left, height - top)
        pixels[top:height, left:width] = inside
    return np.asarray(Image.fromarray(pixels).resize((side_px, side_px), Image.Resampling.BOX))


def _difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(np.abs(a.astype(int) - b).mean())


@pytest.mark.parametrize(
    ("x_um", "y_um"), [(0, 0), (1024, 1024), (517, 333), (-300, -200), (1700, 1800)]
)
def test_square_shows_the_drawing(
    x_um: int, y_um: int, slide: DrawnSlide, source: SlideSource
) -> None:
    mpp = slide.drawing.mpp
    location = round(x_um / mpp), round(y_um / mpp)
    square = source.read_square(location, 1024 / mpp, SIDE_PX)
    assert square.shape == (SIDE_PX, SIDE_PX, 3)
    assert square.dtype == np.uint8
    assert _difference(square, _expected(slide, location, 1024 / mpp)) < MAX_DIFFERENCE


def test_square_outside_of_the_slide_is_white(slide: DrawnSlide, source: SlideSource) -> None:
    beyond = slide.size[0] + 64, slide.size[1] + 64
    for location in ((-9000, 0), (0, -9000), (beyond[0], 0), (0, beyond[1])):
        assert (source.read_square(location, 1024, SIDE_PX) == 255).all()


def test_overview_shows_the_drawing(slide: DrawnSlide, source: SlideSource) -> None:
    overview = source.read_overview(100)
    assert max(overview.shape) == 100
    height_px, width_px = overview.shape[:2]
    whole = Image.fromarray(slide.region(0, 0, *slide.size))
    expected = np.asarray(whole.resize((width_px, height_px), Image.Resampling.BOX))
    assert _difference(overview, expected) < MAX_DIFFERENCE


@pytest.mark.parametrize("compression", ["jpeg", "deflate"])
def test_overview_is_not_enlarged(compression: Literal["jpeg", "deflate"], tmp_path: Path) -> None:
    drawing = replace(SMALL, columns=2, rows=1, compression=compression)
    slide = draw_slide(tmp_path / "slide", drawing)
    with closing(open_slide(slide.path)) as source:
        assert source.read_overview(10**6).shape == (512, 1024, 3)


def test_facts_are_those_of_the_drawing(slide: DrawnSlide, source: SlideSource) -> None:
    facts, drawing = source.facts, slide.drawing
    assert (facts.width_px, facts.height_px) == slide.size
    assert facts.mpp == pytest.approx(drawing.mpp, rel=1e-3)
    assert facts.mpp_source == "file"
    assert facts.n_bytes == slide.path.stat().st_size
    assert (
        facts.format == {"tiff": "generic-tiff", "svs": "aperio", "ome": "ome-tiff"}[drawing.kind]
    )
    assert facts.reads == ("jpeg" if drawing.compression == "jpeg" else "openslide")
    assert (len(facts.levels) > 1) == drawing.has_pyramid
    assert [level.downsample for level in facts.levels] == sorted(
        level.downsample for level in facts.levels
    )


def test_facts_name_nobody(slide: DrawnSlide, source: SlideSource) -> None:
    if slide.drawing.kind != "tiff":
        content = slide.path.read_bytes()
        assert any(name.encode() in content for name in FALSE_IDS)
    assert not [name for name in (*FALSE_IDS, FILE_NAME) if name in repr(source.facts)]


def test_threads_read_what_one_reads(slide: DrawnSlide, source: SlideSource) -> None:
    side = 1024 / slide.drawing.mpp
    places = [(round(i * side / 3), round(i * side / 5)) for i in range(6)]
    alone = [source.read_square(place, side, SIDE_PX) for place in places]
    with closing(open_slide(slide.path)) as other, ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda at: other.read_square(at, side, SIDE_PX), places * 2))
    assert all(np.array_equal(a, b) for a, b in zip(alone * 2, together, strict=True))


def test_callers_resolution_wins(tmp_path: Path) -> None:
    path = draw_slide(tmp_path / "slide", replace(SMALL, columns=1, rows=1)).path
    facts = open_slide(path, mpp=0.7).facts
    assert (facts.mpp, facts.mpp_source) == (0.7, "caller")


def test_square_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    path = draw_slide(tmp_path / "slide", replace(SMALL, mpp=1.0, has_pyramid=False)).path
    source = open_slide(path, limits=SlideLimits(max_read_pixels=250_000))
    source.read_square((0, 0), 2048, SIDE_PX)  # reduced by eight
    with pytest.raises(SlideTooLargeError, match="pixels in one read"):
        source.read_square((0, 0), 2048, 1024)


@pytest.mark.parametrize(
    ("downsamples", "side_level0", "side_px", "level"),
    [
        ((1, 2, 4, 8), 1024, 224, 1),  # 10x: 512 px, not 256
        ((1, 4, 16), 2048, 224, 1),  # 20x as Aperio reduces it: 512 px
        ((1, 4, 16), 4096, 224, 1),  # 40x: 1024 px, not 256
        ((1, 4.00012, 16.002), 4213.99, 224, 1),
        ((1, 2, 4), 1792, 224, 2),  # 448 px is enough
        ((1, 2, 4), 1791, 224, 1),
        ((1, 2, 4), 1792, 320, 1),  # twice 320 px
        ((1,), 2048, 224, 0),
        ((1, 2), 300, 224, 0),  # level 0 has too few already
    ],
)
def test_level_is_the_coarsest_with_enough_pixels(
    downsamples: tuple[float, ...], side_level0: float, side_px: int, level: int
) -> None:
    assert level_for_square(downsamples, side_level0, side_px) == level


@pytest.mark.parametrize(
    ("max_px", "level"), [(10_000, 0), (4000, 0), (3999, 0), (1334, 0), (1333, 1), (250, 2)]
)
def test_overview_is_read_from_the_coarsest_level_that_is_large_enough(
    max_px: int, level: int
) -> None:
    assert level_for_overview([(4000, 3000), (1000, 750), (250, 187)], max_px) == level
