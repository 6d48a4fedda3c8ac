"""The space in which the head is fitted: pooled features, standardised, without case directions.

Both are linear maps with statistics of the training tiles alone, so that they fold into the head's
first layer: the exported graph, its embedding and its Grad-CAM in closed form stay as they are, and
inference costs nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.config import NetworkConfig
from training.fit.sampling import Groups

_NEGLIGIBLE = 1e-6


@dataclass(frozen=True, slots=True)
class HeadSpace:
    """z = ((x - mean) / scale), without its part along `directions`.

    Attributes:
        mean, scale: float32 `[d]`.
        directions: float32 `[k, d]`, orthonormal rows; k may be 0.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    directions: NDArray[np.float32]

    def apply(self, pooled: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring pooled features, float32 `[..., d]`, into this space."""
        if not self.mean.any() and (self.scale == 1).all() and len(self.directions) == 0:
            return pooled  # the features may be many times the memory
        z = (pooled - self.mean) / self.scale
        if len(self.directions) > 0:
            z = z - (z @ self.directions.T) @ self.directions
        return z

    def fold(self, head_weights: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """A head fitted in this space as one that takes pooled features as they come.

        Args:
            head_weights: kernel and bias of the hidden layer, then of the logits.
        """
        kernel, bias, *rest = head_weights
        kernel = kernel - self.directions.T @ (self.directions @ kernel)
        kernel = kernel / self.scale[:, None]
        return [kernel, bias - self.mean @ kernel, *rest]


def fit_head_space(
    pooled: NDArray[np.float32],
    class_indices: NDArray[np.int64],
    groups: Groups | None,
    train: NDArray[np.int64],
    config: NetworkConfig,
) -> HeadSpace:
    """Measure the space on the training tiles.

    Args:
        pooled: float32 `[n, views, d]`, of all tiles.
        class_indices: int64 `[n]`.
        groups: of all tiles; without them no direction is taken out.
        train: positions of the training tiles; nothing else is looked at.
        config: `standardize` and `case_directions`; both 0 give the space as it is.
    """
    size = pooled.shape[-1]
    mean, scale = np.zeros(size, np.float32), np.ones(size, np.float32)
    if config.standardize == 0 and (config.case_directions == 0 or groups is None):
        return HeadSpace(mean, scale, np.zeros((0, size), np.float32))
    shown = pooled[train]
    if config.standardize > 0:
        mean = shown.mean(axis=(0, 1))
        scale = shown.std(axis=(0, 1)) + np.float32(config.standardize)
    space = HeadSpace(mean, scale, np.zeros((0, size), np.float32))
    if config.case_directions == 0 or groups is None:
        return space
    directions = _case_directions(
        space.apply(shown).mean(axis=1), class_indices[train], groups.cases[train]
    )
    return HeadSpace(mean, scale, directions[: config.case_directions])


def _case_directions(
    features: NDArray[np.float32], class_indices: NDArray[np.int64], cases: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Directions of the spread of case means about their label's mean, widest first.

    As nuisance attribute projection does (Solomonoff et al. 2005, ICASSP).

    Returns:
        float32 `[k, d]`, orthonormal rows.
    """
    gaps = []
    for label in np.unique(class_indices):
        of_label = class_indices == label
        centre = features[of_label].mean(axis=0)
        for case in np.unique(cases[of_label]):
            chosen = of_label & (cases == case)
            gaps.append(np.sqrt(chosen.sum()) * (features[chosen].mean(axis=0) - centre))
    _, spread, directions = np.linalg.svd(np.stack(gaps), full_matrices=False)
    kept: NDArray[np.float32] = directions[spread > _NEGLIGIBLE * spread.max()]
    return kept.astype(np.float32)
