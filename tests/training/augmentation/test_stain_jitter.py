from __future__ import annotations

import numpy as np
import pytest

from training.augmentation.stain_jitter import jitter_stain
from training.data.drawn_tiles import draw_tile

TILE = draw_tile("viable_tumor", 64, 0)


def test_jitter_stain_changes_nothing_when_scale_and_shift_are_0() -> None:
    same = jitter_stain(TILE, 0.0, 0.0, np.random.default_rng(0)).astype(int)
    assert np.abs(same - TILE).max() <= 1


def test_jitter_stain_keeps_white_when_shift_is_0() -> None:
    white = np.full((4, 4, 3), 255, dtype=np.uint8)
    assert (jitter_stain(white, 0.5, 0.0, np.random.default_rng(0)) == 255).all()


@pytest.mark.parametrize("seed", range(5))
def test_jitter_stain_changes_more_with_a_larger_scale(seed: int) -> None:
    """The same random numbers at a tenth of the scale change the tile less."""
    moves = [
        np.abs(jitter_stain(TILE, scale, 0.0, np.random.default_rng(seed)) - TILE.astype(float))
        for scale in (0.03, 0.3)
    ]
    assert moves[0].mean() < 0.4 * moves[1].mean()


def test_jitter_stain_is_finite_for_black() -> None:
    black = np.zeros((4, 4, 3), dtype=np.uint8)
    assert jitter_stain(black, 0.2, 0.05, np.random.default_rng(0)).max() < 40
