"""Logits, loss and accuracy of a graph on cached features."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.features.extract import as_function

_BATCH_SIZE: Final = 512
"""Tiles a batch; 512 inputs of the last feature map take 130 MB."""


class Scorer:
    """Runs a graph on the original view of tiles."""

    def __init__(self, graph: Any, features: NDArray[Any], targets: NDArray[np.float32]) -> None:
        """Compile the graph for inference.

        Args:
            graph: one view to logits.
            features: `[n, 1 + n_views, ...]`: float32 features, or uint8 tiles.
            targets: float32 `[n, C]`, one-hot.
        """
        self._infer = as_function(graph)
        self._features, self._targets = features, targets

    def logits(self, tiles: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits of the tiles at these positions, float32 `[n, C]`."""
        if tiles.size == 0:
            return np.empty((0, self._targets.shape[1]), dtype=np.float32)
        starts = range(0, len(tiles), _BATCH_SIZE)
        batches = (tiles[start : start + _BATCH_SIZE] for start in starts)
        return np.concatenate([self._infer(self._features[batch, 0]) for batch in batches])

    def measure(self, tiles: NDArray[np.int64]) -> tuple[float, float]:
        """Mean cross-entropy (nats) and accuracy of at least one tile."""
        return measure_logits(self.logits(tiles), self._targets[tiles])

    def measure_test(self, tiles: NDArray[np.int64]) -> tuple[float, float] | tuple[None, None]:
        """As `measure`; (None, None) if there are no tiles."""
        return self.measure(tiles) if tiles.size > 0 else (None, None)


def measure_logits(
    logits: NDArray[np.float32], targets: NDArray[np.float32]
) -> tuple[float, float]:
    """Mean cross-entropy (nats) and accuracy of at least one tile.

    Args:
        logits: float32 `[n, C]`.
        targets: float32 `[n, C]`, one-hot.
    """
    precise = logits.astype(np.float64)
    shifted = precise - precise.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    loss = -(targets * log_probabilities).sum(axis=1).mean()
    return float(loss), float((precise.argmax(axis=1) == targets.argmax(axis=1)).mean())
