"""Fake models whose logits depend on one property of a tile, so that tests know the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
from numpy.typing import NDArray

from app.core.calibration import probabilities_from_logits
from app.runtime.protocol import ModelOutputs
from training.reliability.predictor import Predictor

CAM_SIDE = 7


class FakePredictor:
    """Computes logits with a function of one tile; its map is the same for every tile and label."""

    def __init__(
        self,
        logits_of: Callable[[NDArray[np.float64]], NDArray[np.float64]],
        cam: NDArray[np.float64] | None = None,
    ) -> None:
        self._logits_of = logits_of
        self._cam = np.zeros((CAM_SIDE, CAM_SIDE)) if cam is None else cam

    def outputs(self, tiles: NDArray[np.uint8]) -> ModelOutputs:
        logits = np.stack([self._logits_of(tile.astype(np.float64)) for tile in tiles])
        cam = np.broadcast_to(self._cam[..., np.newaxis], (*self._cam.shape, logits.shape[1]))
        return ModelOutputs(
            logits=logits.astype(np.float32),
            embedding=tiles.mean(axis=(1, 2)).astype(np.float32),
            cam=np.stack([cam] * len(tiles)).astype(np.float32),
        )

    def probabilities(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        return probabilities_from_logits(self.outputs(tiles).logits, 1.0)


def fake_predictor(
    logits_of: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    cam: NDArray[np.float64] | None = None,
) -> Predictor:
    """A `FakePredictor`, typed as one that runs a bundle."""
    return cast(Predictor, FakePredictor(logits_of, cam))
