"""Runs a bundle's LiteRT model on tiles, as the service does."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.core.calibration import probabilities_from_logits
from app.runtime.litert import LiteRtRuntime
from app.runtime.protocol import ModelOutputs
from training.console.progress import tracked
from training.data.tiles import Tiles


class Predictor(AbstractContextManager["Predictor"]):
    """Runs tiles through a LiteRT file; a context manager."""

    def __init__(self, litert_file: Path, temperature: float) -> None:
        """Open a bundle's LiteRT file.

        Raises:
            RuntimeUnavailableError: LiteRT cannot run it.
        """
        self._runtime = LiteRtRuntime(litert_file, n_workers=1)
        self._temperature = temperature

    def outputs(self, tiles: NDArray[np.uint8]) -> ModelOutputs:
        """Outputs of the graph for uint8 `[n, side, side, 3]` RGB."""
        return self._runtime.infer(tiles)

    def logits_and_embeddings(
        self, tiles: Tiles
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Logits, float64 `[n, C]`, and embeddings, float32 `[n, E]`, of any number of tiles."""
        logits, embeddings = [], []
        for position in tracked("Running the model")(range(len(tiles))):
            outputs = self.outputs(tiles[position][np.newaxis])
            logits.append(outputs.logits)
            embeddings.append(outputs.embedding)
        return np.concatenate(logits).astype(np.float64), np.concatenate(embeddings)

    def probabilities(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Calibrated probabilities, float32 `[n, C]`, for uint8 `[n, side, side, 3]` RGB."""
        return probabilities_from_logits(self.outputs(tiles).logits, self._temperature)

    def __exit__(self, *_: object) -> None:
        """Close the runtime."""
        self._runtime.close()
