"""Show every label as often as the most frequent one, by showing some of its tiles again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def oversample(
    tiles: NDArray[np.int64], class_indices: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Repeat tiles of the rarer labels until all labels are equally frequent.

    Args:
        tiles: positions, int64 `[n]`; of training tiles only, or copies would leak.
        class_indices: int64 `[n]`, the label of each of `tiles`.
        rng: chooses which tiles are shown again.

    Returns:
        int64 `[m]`: every one of `tiles` at least once; labels that have none stay absent.
    """
    counts = np.bincount(class_indices)
    extra = [
        rng.choice(tiles[class_indices == label], counts.max() - count)
        for label, count in enumerate(counts)
        if count > 0
    ]
    return np.concatenate([tiles, *extra])
