"""Which training tiles a bundle keeps to measure distances from."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.neighbours import ReferenceTiles

MAX_REFERENCE_TILES: Final = 128
"""So many embeddings are 0.3 MB of a bundle; of more tiles the most unlike are taken."""


def choose_reference(embeddings: NDArray[np.float32]) -> ReferenceTiles:
    """References that cover the training tiles: all of them, or the most unlike.

    Args:
        embeddings: float32 `[n, E]` of the training tiles.

    Returns:
        At most `MAX_REFERENCE_TILES`; beyond, by farthest-point sampling (Gonzalez 1985).
    """
    if len(embeddings) <= MAX_REFERENCE_TILES:
        return ReferenceTiles(embeddings)
    directions = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    chosen = [0]
    gap = 1.0 - directions @ directions[0]
    while len(chosen) < MAX_REFERENCE_TILES:
        chosen.append(int(gap.argmax()))
        gap = np.minimum(gap, 1.0 - directions @ directions[chosen[-1]])
    return ReferenceTiles(embeddings[chosen])
