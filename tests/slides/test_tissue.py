from __future__ import annotations

import numpy as np
import pytest

from app.core.manifest import InputContract
from app.core.slide_limits import DEFAULT_SLIDE_LIMITS
from app.slides.grid import make_grid
from app.slides.tissue import MAX_OVERVIEW_PX, MIN_OVERVIEW_PX, overview_px, tissue_shares
from tests.slides.test_grid import facts_of

GLASS, STAINED = (243, 242, 244), (200, 120, 180)


def test_tissue_shares_are_those_of_each_tile() -> None:
    facts = facts_of(4096, 2048, 1.0)
    grid = make_grid(facts, InputContract(), DEFAULT_SLIDE_LIMITS)
    overview = np.full((64, 128, 3), GLASS, np.uint8)
    overview[:32, :32] = STAINED  # tile 0, 0
    overview[32:48, 64:96] = STAINED  # the upper half of column 2 in row 1
    expected = [[1, 0, 0, 0], [0, 0, 0.5, 0]]
    assert tissue_shares(overview, facts, grid).tolist() == expected


def test_what_lies_outside_of_the_slide_is_glass() -> None:
    facts = facts_of(1024 + 512, 1024, 1.0)
    grid = make_grid(facts, InputContract(), DEFAULT_SLIDE_LIMITS)
    overview = np.full((32, 48, 3), STAINED, np.uint8)
    assert tissue_shares(overview, facts, grid) == pytest.approx(np.array([[1.0, 0.5]]))


def test_a_rest_at_the_edge_belongs_to_no_tile() -> None:
    facts = facts_of(1024 + 400, 1024, 1.0)
    grid = make_grid(facts, InputContract(), DEFAULT_SLIDE_LIMITS)
    overview = np.full((32, 44, 3), GLASS, np.uint8)
    overview[:, 33:] = STAINED
    assert tissue_shares(overview, facts, grid).shape == (1, 1)
    assert tissue_shares(overview, facts, grid).max() < 0.02


def test_the_overview_is_coarse_and_bounded() -> None:
    assert overview_px(facts_of(40_000, 30_000, 1.0)) == 1250
    assert overview_px(facts_of(100_000, 75_000, 0.25)) == MIN_OVERVIEW_PX
    assert overview_px(facts_of(10**6, 10**4, 1.0)) == MAX_OVERVIEW_PX
    assert overview_px(facts_of(600, 700, 0.1)) == 700
