from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.manifest import InputContract
from app.core.slide_errors import SlideFormatError, SlideTooLargeError
from app.core.slide_limits import SlideLimits
from app.slides.facts import LevelFacts, SlideFacts
from app.slides.grid import make_grid, tile_side_um

LIMITS = SlideLimits(max_tiles=1000)


def facts_of(width_px: int, height_px: int, mpp: float) -> SlideFacts:
    level = LevelFacts(width_px=width_px, height_px=height_px, downsample=1.0)
    return SlideFacts(
        format="drawn",
        n_bytes=1,
        width_px=width_px,
        height_px=height_px,
        mpp=mpp,
        mpp_source="file",
        levels=[level],
        reads="jpeg",
    )


def test_a_tile_has_1024_um_at_nominal_10x() -> None:
    assert tile_side_um(InputContract()) == 1024.0
    assert tile_side_um(InputContract(objective_power=20.0)) == 512.0
    assert tile_side_um(InputContract(mpp=0.5, objective_power=10.0)) == 512.0


@pytest.mark.parametrize(
    "contract",
    [InputContract(objective_power=None), InputContract(tile_side_px=None)],
)
def test_a_model_without_a_scale_has_no_grid(contract: InputContract) -> None:
    with pytest.raises(SlideFormatError, match="does not state the scale"):
        make_grid(facts_of(4096, 4096, 1.0), contract, LIMITS)


def test_grid_follows_the_resolution_and_not_the_objective() -> None:
    grid = make_grid(facts_of(10_000, 8500, 0.243), InputContract(), LIMITS)
    assert grid.side_level0 == pytest.approx(4213.99, abs=0.01)
    assert (grid.columns, grid.rows) == (2, 2)
    assert grid.location_level0(1, 1) == (4214, 4214)
    assert grid.side_um == pytest.approx(1024)
    assert grid.tile_area_mm2 == pytest.approx(1.048576)


def test_half_a_tile_at_the_edge_is_a_tile() -> None:
    grid = make_grid(facts_of(2 * 1024 + 512, 1024 + 511, 1.0), InputContract(), LIMITS)
    assert (grid.columns, grid.rows) == (3, 1)


def test_a_slide_smaller_than_a_tile_is_refused_with_its_size() -> None:
    with pytest.raises(SlideFormatError, match=r"300 x 200 px, .* 1024 px a side at 1 um"):
        make_grid(facts_of(300, 200, 1.0), InputContract(), LIMITS)


def test_too_many_tiles_are_refused() -> None:
    with pytest.raises(SlideTooLargeError, match="10,000 tiles; at most 1,000"):
        make_grid(facts_of(102_400, 102_400, 1.0), InputContract(), LIMITS)


@given(
    width_px=st.integers(1, 10**6),
    height_px=st.integers(1, 10**6),
    mpp=st.floats(0.1, 2.0),
)
def test_tiles_cover_the_slide_but_for_less_than_half_a_tile(
    width_px: int, height_px: int, mpp: float
) -> None:
    facts = facts_of(width_px, height_px, mpp)
    try:
        grid = make_grid(facts, InputContract(), SlideLimits(max_tiles=10**9))
    except SlideFormatError:
        assert min(width_px, height_px) * mpp < 513
        return
    for length, count in ((width_px, grid.columns), (height_px, grid.rows)):
        assert abs(count * grid.side_level0 - length) <= grid.side_level0 / 2 + 1e-6
    last = grid.location_level0(grid.columns - 1, grid.rows - 1)
    assert last[0] < width_px
    assert last[1] < height_px
