"""Choose the views of an epoch, and how often each group of tiles is shown.

Case and label are confounded in the collection (one case has hardly any Viable Tumor, another
hardly anything else), so a model can gain by telling cases apart. Balanced sampling shows every
label, slide, case or pair of case and label equally often.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from training.config import Balance
from training.data.groups import Groups

ViewPositions = Callable[[NDArray[np.int64], np.random.Generator], NDArray[np.int64]]
"""From tile positions `[n]` to the (tile, view) pairs `[m, 2]` that one epoch shows."""


def all_views(n_shown: int) -> ViewPositions:
    """Every view of every tile."""

    def choose(tiles: NDArray[np.int64], _: np.random.Generator) -> NDArray[np.int64]:
        return np.stack([np.repeat(tiles, n_shown), np.tile(np.arange(n_shown), len(tiles))], 1)

    return choose


def some_views(n_shown: int, n_chosen: int) -> ViewPositions:
    """The original of each tile and `n_chosen` of its transformed views, redrawn every epoch."""

    def choose(tiles: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        shown = [[0, *(1 + rng.permutation(n_shown - 1)[:n_chosen])] for _ in tiles]
        return np.array([(t, v) for t, views in zip(tiles, shown, strict=True) for v in views])

    return choose


def balanced(
    views: ViewPositions, balance: Balance, class_indices: NDArray[np.int64], groups: Groups | None
) -> ViewPositions:
    """Draw as many pairs as `views` chooses, each group equally often.

    Args:
        views: chooses pairs of tile and view.
        balance: what a group is; `none` returns `views` unchanged.
        class_indices: int64 `[n]`, of all tiles.
        groups: slides and cases of all tiles; balancing by label needs none.
    """
    if balance == "none":
        return views
    group_of = class_indices if groups is None else _group_of(balance, class_indices, groups)

    def choose(tiles: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        pairs = views(tiles, rng)
        group = group_of[pairs[:, 0]]
        weights = 1.0 / np.bincount(group)[group]
        return pairs[rng.choice(len(pairs), len(pairs), p=weights / weights.sum())]

    return choose


def _group_of(
    balance: Balance, class_indices: NDArray[np.int64], groups: Groups
) -> NDArray[np.int64]:
    if balance == "label":
        return class_indices
    if balance == "slide":
        return groups.slides
    if balance == "case":
        return groups.cases
    pairs: NDArray[np.int64] = groups.cases * (class_indices.max() + 1) + class_indices
    return pairs
