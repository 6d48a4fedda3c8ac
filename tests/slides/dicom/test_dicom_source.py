from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.core.slide_errors import CorruptSlideError, SlideResolutionError
from app.slides.dicom.source import DicomSource
from tests.slides.dicom.conftest import MakeSeries, opened
from tests.slides.dicom.drawn_dicom import Style, write_level
from tests.slides.mosaic import FALSE_IDS, DrawnSlide, Pixels

SIDE_PX = 224
CELL_LEVEL0 = 512
UIDS = ("1.2.3", "1.2.4", "1.2.5")


def squares(source: DicomSource, slide: DrawnSlide) -> Pixels:
    """Each cell of tissue, uint8 `[n, 224, 224, 3]`."""
    places = [slide.location_level0(column, row) for column, row, _ in slide.cells()]
    return np.stack([source.read_square(place, CELL_LEVEL0, SIDE_PX) for place in places])


def drawn_squares(slide: DrawnSlide) -> Pixels:
    cells = [Image.fromarray(slide.tile(column, row)) for column, row, _ in slide.cells()]
    return np.stack([np.asarray(cell.resize((SIDE_PX,) * 2)) for cell in cells])


def difference(one: Pixels, other: Pixels) -> float:
    """Mean over pixels, in grey levels."""
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize(
    "style",
    [
        Style(photometric="YBR_FULL_422", uids=UIDS),
        Style(photometric="YBR_FULL", uids=UIDS),
        Style(photometric="RGB", uids=UIDS),
        Style(encoding="jpeg2000", photometric="YBR_ICT", uids=UIDS),
        Style(encoding="jpeg2000", photometric="RGB", uids=UIDS),
        *(
            pytest.param(
                Style(encoding="jpeg2000", photometric=photometric, uids=UIDS),
                marks=pytest.mark.exhaustive,
            )
            for photometric in ("YBR_RCT", "YBR_FULL")
        ),
        Style(encoding="raw", photometric="RGB", uids=UIDS),
        Style(encoding="raw", photometric="RGB", is_planar=True, uids=UIDS),
        Style(encoding="raw", photometric="YBR_FULL", is_implicit=True, uids=UIDS),
        Style(tile_px=240, uids=UIDS),  # no divisor of the cells, the level or a power of two
        Style(tile_px=100, uids=UIDS),
    ],
    ids=lambda style: f"{style.encoding}-{style.photometric}-{style.is_planar}-{style.tile_px}",
)
def test_read_square_reads_every_kind_of_frame(
    style: Style, slide: DrawnSlide, make_series: MakeSeries
) -> None:
    with opened(make_series(style)) as source:
        # RGB taken for YCbCr is 47 levels away.
        assert difference(squares(source, slide), drawn_squares(slide)) < 4
        glass = source.read_square(slide.location_level0(0, 1), CELL_LEVEL0, SIDE_PX)
        assert difference(glass, np.full_like(glass, 243)) < 1


@pytest.mark.parametrize(
    "style",
    [
        Style(offsets="none", uids=UIDS),
        Style(offsets="none", n_fragments=3, uids=UIDS),
        Style(offsets="basic", n_fragments=2, uids=UIDS),
        Style(offsets="extended", uids=UIDS),
        Style(is_sparse=True, uids=UIDS),
        Style(is_sparse=True, offsets="extended", uids=UIDS),
    ],
    ids=lambda style: f"{style.offsets}-{style.n_fragments}-{style.is_sparse}",
)
def test_read_square_finds_the_frames_by_every_table(
    style: Style, slide: DrawnSlide, make_series: MakeSeries, series: Path
) -> None:
    with opened(make_series(style)) as source, opened(series) as expected:
        assert (squares(source, slide) == squares(expected, slide)).all()


def test_read_square_is_white_outside_of_the_slide_and_where_it_has_no_frame(
    slide: DrawnSlide, make_series: MakeSeries
) -> None:
    with opened(make_series(Style(is_sparse=True, uids=UIDS))) as source:
        assert (source.read_square(slide.location_level0(0, 1), CELL_LEVEL0, 64) == 255).all()
        assert (source.read_square((5000, -700), CELL_LEVEL0, 64) == 255).all()
        beyond = source.read_square((768, 512), CELL_LEVEL0, 64)
        assert (beyond[:, 34:] == 255).all()
        assert beyond[:, :30].mean() < 250


@pytest.mark.parametrize(("side_level0", "step"), [(448, 1), (900, 2), (895, 1), (2048, 4)])
def test_read_square_reads_the_coarsest_level_with_448_px_a_side(
    side_level0: int, step: int, tmp_path: Path
) -> None:
    for level in (1, 2, 4, 8):
        grey = np.full((2048 // level, 2048 // level, 3), 20 * level, np.uint8)
        path = tmp_path / f"{level}.dcm"
        write_level(grey, 0.5 * level, Style(uids=UIDS), path, is_base=level == 1)
    with opened(tmp_path) as source:
        assert source.facts.levels[step.bit_length() - 1].downsample == step
        assert source.read_square((0, 0), side_level0, 64).mean() == pytest.approx(20 * step, abs=1)


def test_read_square_reads_the_other_squares_of_a_slide_with_a_damaged_frame(
    slide: DrawnSlide, series: Path, tmp_path: Path
) -> None:
    shutil.copytree(series, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "level1.dcm"
    content = bytearray(path.read_bytes())
    at = content.index(b"\xff\xd8\xff") + 800
    content[at : at + 300] = bytes(300)
    path.write_bytes(content)
    with opened(tmp_path) as source, opened(series) as expected:
        with pytest.raises(CorruptSlideError, match="a tile inside"):
            source.read_square((0, 0), CELL_LEVEL0, SIDE_PX)
        place = slide.location_level0(1, 0)
        one, other = (s.read_square(place, CELL_LEVEL0, SIDE_PX) for s in (source, expected))
        assert (one == other).all()
        assert source.read_overview(1024).shape == (1024, 1024, 3)


@pytest.mark.parametrize("max_px", [64, 300, 512, 5000])
def test_read_overview_shows_the_whole_slide(max_px: int, slide: DrawnSlide, series: Path) -> None:
    with opened(series) as source:
        overview = source.read_overview(max_px)
    # A level a little smaller than asked is taken as it is.
    side = {64: 64, 300: 256, 512: 512, 5000: 1024}[max_px]
    cells = Image.fromarray(slide.region(0, 0, *slide.size))
    whole = cells.resize((side, side), Image.Resampling.BOX)
    assert overview.shape == (side, side, 3)
    assert difference(overview, np.asarray(whole)) < 6


def test_read_overview_needs_no_pyramid(series: Path) -> None:
    with opened(series / "level1.dcm") as source, opened(series) as pyramid:
        assert len(source.facts.levels) == 1
        assert difference(source.read_overview(100), pyramid.read_overview(100)) < 5


def test_facts_describe_the_levels_and_leave_out_label_overview_and_thumbnail(series: Path) -> None:
    with opened(series) as source:
        facts = source.facts
        assert [path.name for path in source.paths] == ["level1.dcm", "level2.dcm", "level4.dcm"]
        assert source.level0_path == series / "level1.dcm"
    assert (facts.format, facts.width_px, facts.height_px, facts.mpp) == ("dicom", 1024, 1024, 2.0)
    assert [level.width_px for level in facts.levels] == [1024, 512, 256]
    assert [level.downsample for level in facts.levels] == [1, 2, 4]
    assert (facts.mpp_source, facts.reads, facts.objective_power) == ("file", "jpeg", 10)
    assert facts.n_bytes == sum(path.stat().st_size for path in series.glob("level*.dcm"))


def test_nothing_of_the_patient_is_kept(series: Path) -> None:
    assert FALSE_IDS[0].encode() in (series / "level1.dcm").read_bytes()
    with opened(series) as source:
        kept = repr([source.facts, *source.headers])
    assert not [word for word in (*FALSE_IDS, "19990101") if word in kept]


def test_the_resolution_may_be_stated_as_the_size_of_the_volume(make_series: MakeSeries) -> None:
    with opened(make_series(Style(states="volume", uids=UIDS))) as source:
        assert source.facts.mpp == pytest.approx(2.0)


def test_the_caller_must_state_a_resolution_that_the_file_does_not(make_series: MakeSeries) -> None:
    folder = make_series(Style(states="nothing", uids=UIDS))
    with pytest.raises(SlideResolutionError, match="does not state it"):
        opened(folder)
    with opened(folder, mpp=1.5) as source:
        assert (source.facts.mpp, source.facts.mpp_source) == (1.5, "caller")


@pytest.mark.parametrize("mpp", [264.58, 0.01, float("nan")])
def test_an_implausible_resolution_is_refused(mpp: float, series: Path) -> None:
    with pytest.raises(SlideResolutionError, match=r"0\.1 to 2"):
        opened(series, mpp=mpp)


def test_different_resolutions_of_the_axes_are_refused(tmp_path: Path) -> None:
    style = Style(states="volume", overrides={"ImagedVolumeHeight": 0.6})
    write_level(np.zeros((512, 512, 3), np.uint8), 1.0, style, tmp_path / "one.dcm")
    with pytest.raises(SlideResolutionError, match="across and"):
        opened(tmp_path)
