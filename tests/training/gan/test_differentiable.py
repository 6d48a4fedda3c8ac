"""Differentiable augmentation of tiles."""

from __future__ import annotations

import numpy as np
import pytest

from training.gan.differentiable import augment

pytestmark = pytest.mark.tensorflow


def test_augment_keeps_the_shape_and_repeats_with_its_seed() -> None:
    tiles = np.ones((6, 32, 32, 3), np.float32) * 0.25
    seed = np.array([1, 2], np.int32)
    one, other = augment(tiles, seed).numpy(), augment(tiles, seed).numpy()
    np.testing.assert_array_equal(one, other)
    assert one.shape == tiles.shape
    assert np.abs(one - augment(tiles, seed + 1).numpy()).max() > 0.05
    zero = (one == 0).all(axis=3).mean(axis=(1, 2))
    assert (zero > 0).all()  # the cut-out
    assert zero.max() <= 1 / 4 + 2 / 8


def test_augment_moves_a_tile_without_rotating_it() -> None:
    """A bright column stays one: moved by at most an eighth, cut at most in its middle."""
    tiles = np.zeros((16, 32, 32, 3), np.float32)
    tiles[:, :, 16] = 4.0
    for tile in augment(tiles, np.array([3, 4], np.int32)).numpy():
        bright = np.flatnonzero(tile.mean(2).max(0) - np.median(tile.mean(2)) > 1.0)
        assert len(bright) <= 1
        assert all(abs(column - 16) <= 4 for column in bright)
