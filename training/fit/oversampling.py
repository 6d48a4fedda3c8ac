"""Show every label as often as the most frequent one, by repeating some of its tiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.fit.sampling import ViewPositions


def oversample(
    tiles: NDArray[np.int64], class_indices: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Repeat tiles of the rarer labels until all labels are equally frequent.

    Args:
        tiles: positions, int64 `[n]`; of training tiles only, or copies would leak.
        class_indices: int64 `[n]`, the label of each of `tiles`.
        rng: chooses which tiles are repeated.

    Returns:
        int64 `[m]`: each of `tiles` at least once; labels without tiles stay absent.
    """
    counts = np.bincount(class_indices)
    extra = [
        rng.choice(tiles[class_indices == label], counts.max() - count)
        for label, count in enumerate(counts)
        if count > 0
    ]
    return np.concatenate([tiles, *extra])


def oversampled(views: ViewPositions, class_indices: NDArray[np.int64]) -> ViewPositions:
    """Views of tiles that are oversampled anew in every epoch.

    Args:
        views: chooses pairs of tile and view.
        class_indices: int64 `[n]`, of all tiles.
    """
    return lambda tiles, rng: views(oversample(tiles, class_indices[tiles], rng), rng)
