from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from training.config import Balance
from training.data.groups import Groups
from training.fit.sampling import all_views, balanced, some_views

CLASSES = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2, 2])
GROUPS = Groups(
    slides=np.array([0, 0, 0, 0, 1, 2, 2, 3, 3, 4]), cases=np.array([0, 0, 0, 0, 0, 1, 1, 2, 2, 2])
)
TILES = np.arange(10)


@pytest.mark.parametrize(
    ("balance", "group_of"),
    [
        ("label", CLASSES),
        ("slide", GROUPS.slides),
        ("case", GROUPS.cases),
        ("case_and_label", GROUPS.cases * 3 + CLASSES),
    ],
)
def test_balanced_shows_every_group_equally_often(
    balance: Balance, group_of: NDArray[np.int64]
) -> None:
    pairs = balanced(all_views(400), balance, CLASSES, GROUPS)(TILES, np.random.default_rng(1))
    assert pairs.shape == (4000, 2)
    shown = np.bincount(group_of[pairs[:, 0]])
    shown = shown[shown > 0]
    expected = 4000 / len(np.unique(group_of))
    assert (np.abs(shown - expected) < 6 * np.sqrt(expected)).all()


def test_balanced_shows_training_tiles_only() -> None:
    chosen = balanced(some_views(5, 2), "case_and_label", CLASSES, GROUPS)
    pairs = chosen(np.array([1, 6, 9]), np.random.default_rng(1))
    assert pairs.shape == (9, 2)
    assert set(pairs[:, 0]) <= {1, 6, 9}


def test_balanced_returns_the_same_views_when_nothing_is_balanced() -> None:
    views = all_views(3)
    assert balanced(views, "none", CLASSES, None) is views
