"""The space in which the head is fitted: pooled features, standardised.

Standardising is linear and uses statistics of the training tiles alone, so it folds into the head's
first layer. The exported graph, its embedding, its closed-form Grad-CAM and the cost of inference
do not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class HeadSpace:
    """z = (x - mean) / scale.

    Attributes:
        mean, scale: float32 `[d]`.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]

    def apply(self, pooled: NDArray[np.float32]) -> NDArray[np.float32]:
        """Transform pooled features, float32 `[..., d]`."""
        if not self.mean.any() and (self.scale == 1).all():
            return pooled  # a copy could need more than the free memory
        return (pooled - self.mean) / self.scale

    def fold(self, head_weights: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Turn a head fitted in this space into one that takes pooled features.

        Args:
            head_weights: kernel `[d, H]` and bias `[H]` of the hidden layer, then kernel and bias
                of the logits, which do not change; float32.
        """
        kernel, bias, *rest = head_weights
        kernel = kernel / self.scale[:, None]
        return [kernel, bias - self.mean @ kernel, *rest]


def fit_head_space(
    pooled: NDArray[np.float32], train: NDArray[np.int64], standardize: float
) -> HeadSpace:
    """Measure the space on the training tiles.

    Args:
        pooled: float32 `[n, views, d]`, of all tiles.
        train: positions of the training tiles; no other tile is used.
        standardize: added to the standard deviations, so that rare features stay small; 0 changes
            no feature.
    """
    if standardize == 0:
        size = pooled.shape[-1]
        return HeadSpace(np.zeros(size, np.float32), np.ones(size, np.float32))
    shown = pooled[train]
    scale = shown.std(axis=(0, 1)) + np.float32(standardize)
    return HeadSpace(shown.mean(axis=(0, 1)), scale)
