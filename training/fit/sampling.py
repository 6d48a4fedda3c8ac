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


def without_enlarged(views: ViewPositions, first_thumbnail: int, n_full: int) -> ViewPositions:
    """Leave out the views of thumbnails at full resolution, which only look like it.

    Args:
        views: chooses pairs of tile and view.
        first_thumbnail: its position.
        n_full: views at full resolution, which come first.
    """

    def choose(tiles: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        pairs = views(tiles, rng)
        return pairs[(pairs[:, 0] < first_thumbnail) | (pairs[:, 1] >= n_full)]

    return choose


def weigh_views(
    pairs: NDArray[np.int64],
    n_full: int,
    balance: Balance,
    class_indices: NDArray[np.int64],
    groups: Groups | None,
) -> NDArray[np.float64]:
    """Weights instead of draws: each label counts equally at each resolution, and so do its groups.

    Args:
        pairs: tiles and views, int64 `[m, 2]`.
        n_full: views at full resolution, which come first.
        balance: what a group is within a label; `none` weighs all pairs equally.
        class_indices: int64 `[n]`, of all tiles.
        groups: slides and cases of all tiles; balancing by label needs none.

    Returns:
        float64 `[m]`; the sum is the number of tiles, counted once at each resolution.
    """
    resolution = (pairs[:, 1] >= n_full).astype(np.int64)
    n_counted = len(np.unique(np.stack([pairs[:, 0], resolution]), axis=1).T)
    if balance == "none":
        return np.full(len(pairs), n_counted / len(pairs))
    label = resolution * (class_indices.max() + 1) + class_indices[pairs[:, 0]]
    inner = class_indices if groups is None else _group_of(balance, class_indices, groups)
    group = label * (inner.max() + 1) + inner[pairs[:, 0]]
    groups_of_label = np.bincount(np.unique(np.stack([group, label]), axis=1)[1])
    weights = 1.0 / (np.bincount(group)[group] * groups_of_label[label])
    result: NDArray[np.float64] = weights * n_counted / weights.sum()
    return result


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
