"""Mixtures of training tiles, made from features a batch at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_TINY = 1e-6


def mixup(
    features: Floats, targets: Floats, alpha: float, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Mix each tile with another of the batch, features and labels alike (arXiv:1710.09412).

    Args:
        features: float32 `[B, ...]`.
        targets: float32 `[B, C]`.
        alpha: shares are drawn from Beta(alpha, alpha).
        rng: draws the shares and the partners.
    """
    share = rng.beta(alpha, alpha, len(features)).astype(np.float32)
    other = rng.permutation(len(features))
    wide = share.reshape(-1, *[1] * (features.ndim - 1))
    return (
        wide * features + (1 - wide) * features[other],
        share[:, None] * targets + (1 - share[:, None]) * targets[other],
    )


def mix_style(features: Floats, alpha: float, rng: np.random.Generator) -> Floats:
    """Give each tile channel means and deviations between its own and another's (arXiv:2104.02008).

    That is what a stain or a scanner does to a feature map; labels stay as they are.

    Args:
        features: float32 `[B, h, w, K]`.
        alpha: shares are drawn from Beta(alpha, alpha).
        rng: draws the shares and the partners.
    """
    share = rng.beta(alpha, alpha, (len(features), 1, 1, 1)).astype(np.float32)
    other = rng.permutation(len(features))
    mean = features.mean(axis=(1, 2), keepdims=True)
    spread = features.std(axis=(1, 2), keepdims=True) + np.float32(_TINY)
    mean_between = share * mean + (1 - share) * mean[other]
    spread_between = share * spread + (1 - share) * spread[other]
    mixed: Floats = (features - mean) / spread * spread_between + mean_between
    return mixed
