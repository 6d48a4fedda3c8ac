"""Choose the training tiles to which a bundle measures distances."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.reference_tiles import N_NEIGHBOURS, ReferenceTiles

MAX_REFERENCE_TILES: Final = 128
"""This many embeddings take 0.3 MB of a bundle."""
_TINY: Final = 1e-12
_FARTHEST: Final = 2.0
"""The largest possible cosine distance."""


def choose_reference(embeddings: NDArray[np.float32]) -> ReferenceTiles:
    """Choose references that cover the training tiles: all of them, or the most dissimilar.

    Args:
        embeddings: float32 `[n, E]` of the training tiles.

    Returns:
        At most `MAX_REFERENCE_TILES`. From more tiles, farthest-point sampling (Gonzalez 1985)
        chooses by the distance that the service measures: the mean to the nearest `N_NEIGHBOURS`.
        By the nearest one alone, a rare kind of tile would get a single reference, and new tiles of
        that kind would be far from all others.
    """
    if len(embeddings) <= MAX_REFERENCE_TILES:
        return ReferenceTiles(embeddings)
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    directions = embeddings / np.maximum(lengths, _TINY)
    chosen = [0]
    gaps = np.full((len(embeddings), N_NEIGHBOURS), _FARTHEST, dtype=np.float32)
    while len(chosen) < MAX_REFERENCE_TILES:
        latest = 1.0 - directions @ directions[chosen[-1]]
        gaps = np.sort(np.column_stack([gaps, latest]), axis=1)[:, :N_NEIGHBOURS]
        distances = gaps.mean(axis=1)
        distances[chosen] = -1.0  # choose each tile once
        chosen.append(int(distances.argmax()))
    return ReferenceTiles(embeddings[chosen])
