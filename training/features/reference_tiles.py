"""Which training tiles a bundle keeps to measure distances from."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.reference_tiles import N_NEIGHBOURS, ReferenceTiles

MAX_REFERENCE_TILES: Final = 128
"""So many embeddings are 0.3 MB of a bundle; of more tiles the most unlike are taken."""
_TINY: Final = 1e-12
_FARTHEST: Final = 2.0
"""The largest cosine distance there is."""


def choose_reference(embeddings: NDArray[np.float32]) -> ReferenceTiles:
    """References that cover the training tiles: all of them, or the most unlike.

    Args:
        embeddings: float32 `[n, E]` of the training tiles.

    Returns:
        At most `MAX_REFERENCE_TILES`; beyond, by farthest-point sampling (Gonzalez 1985), where
        far is what the service measures: from the nearest `N_NEIGHBOURS`. By the nearest one
        alone a rare kind of tile would get one reference, and stay far from its other neighbours.
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
        distances[chosen] = -1.0  # a tile is taken once
        chosen.append(int(distances.argmax()))
    return ReferenceTiles(embeddings[chosen])
