"""Synthetic tiles are added to training folds and to nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from training.data.groups import Groups
from training.data.synthetic import SyntheticPart, SyntheticTiles
from training.errors import LeakError


def part(train: set[int], seen: set[int], n: int = 2) -> SyntheticPart:
    tiles = np.full((n, 8, 8, 3), 7, np.uint8)
    return SyntheticPart(frozenset(train), frozenset(seen), tiles, np.arange(n) % 3)


def positions(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, dtype=np.int64)


def test_added_to_appends_the_synthetic_tiles_of_the_fold() -> None:
    synthetic = SyntheticTiles(4, [part({0, 1}, {0, 1}, 2), part({2, 3}, {3}, 3)], 16)
    train = synthetic.added_to(positions(2, 3), positions(0, 1))
    assert train.tolist() == [2, 3, 6, 7, 8]
    assert synthetic.added_to(positions(0, 1), positions()).tolist() == [0, 1, 4, 5]


def test_synthetic_tiles_refuse_a_generator_that_saw_a_test_tile() -> None:
    with pytest.raises(LeakError, match="saw 1 tile that"):
        SyntheticTiles(4, [part({0, 1, 2}, {2, 3})], 16)


@pytest.mark.parametrize(
    ("train", "test"), [((0, 1), (2, 4)), ((0, 1, 5), (2,)), ((0, 1), (4,)), ((), (5,))]
)
def test_added_to_refuses_a_fold_with_a_synthetic_tile(
    train: tuple[int, ...], test: tuple[int, ...]
) -> None:
    synthetic = SyntheticTiles(4, [part({0, 1}, {0, 1})], 16)
    with pytest.raises(LeakError, match="names a synthetic tile"):
        synthetic.added_to(positions(*train), positions(*test))


def test_added_to_refuses_a_fold_without_a_generator() -> None:
    synthetic = SyntheticTiles(4, [part({0, 1}, {0, 1})], 16)
    with pytest.raises(LeakError, match="No generator was found for this fold"):
        synthetic.added_to(positions(0, 1, 2), positions(3))


def test_appended_to_puts_synthetic_tiles_after_the_real_ones() -> None:
    synthetic = SyntheticTiles(4, [part({0, 1}, {0}), part({2, 3}, {3})], 16)
    real = np.zeros((4, 16, 16, 3), np.uint8)
    groups = Groups(positions(0, 0, 1, 1), positions(0, 0, 0, 0))
    tiles, labels, extended = synthetic.appended_to(real, positions(0, 1, 2, 0), groups)
    assert len(tiles) == 8
    assert all(tiles[i].max() == 0 for i in range(4))
    assert all(tiles[i].shape == (16, 16, 3) for i in range(4, 8))
    assert all(tiles[i].min() == 7 for i in range(4, 8))
    assert labels.tolist() == [0, 1, 2, 0, 0, 1, 0, 1]
    assert extended is not None
    assert extended.slides.tolist() == [0, 0, 1, 1, 2, 2, 2, 2]
    assert extended.cases.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
