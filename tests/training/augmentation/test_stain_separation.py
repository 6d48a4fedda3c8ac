from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from training.augmentation.stain_separation import (
    OTHER_STAINS,
    compose,
    restain,
    scale_stains,
    separate,
)
from training.data.drawn_tiles import draw_tile

small_tiles = arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3)))


@given(small_tiles)
def test_compose_restores_the_tile_that_was_separated(tile: NDArray[np.uint8]) -> None:
    again = compose(separate(tile))
    assert again.dtype == np.uint8
    assert np.abs(again.astype(int) - tile).max() <= 2


@given(small_tiles)
def test_scale_stains_changes_nothing_when_the_factors_are_1(tile: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(scale_stains(tile), tile)


def test_separate_finds_no_stain_on_glass() -> None:
    glass = np.full((2, 2, 3), 255, np.uint8)
    np.testing.assert_allclose(separate(glass), 0.0, atol=1e-6)
    np.testing.assert_array_equal(scale_stains(glass, 1.5, 0.5), glass)


@pytest.mark.parametrize(("haematoxylin", "eosin"), [(1.2, 1.0), (0.8, 1.0), (1.0, 0.8)])
def test_scale_stains_scales_the_mean_amounts(haematoxylin: float, eosin: float) -> None:
    tile = draw_tile("viable_tumor", 64, 0)
    before, after = separate(tile), separate(scale_stains(tile, haematoxylin, eosin))
    expected = before.reshape(-1, 3).mean(axis=0) * [haematoxylin, eosin, 1.0]
    np.testing.assert_allclose(after.reshape(-1, 3).mean(axis=0), expected, atol=0.01)


@pytest.mark.parametrize("stains", OTHER_STAINS)
def test_restain_changes_the_colours(stains: str) -> None:
    tile = draw_tile("viable_tumor", 64, 0)
    other = restain(tile, stains)
    assert other.shape == tile.shape
    assert other.dtype == np.uint8
    gap = np.abs(other.mean(axis=(0, 1)) - tile.mean(axis=(0, 1)))
    assert gap.max() > 5, "grey levels, in at least one channel"
