"""Predictions on held-out tiles, with the measurements that the input gate checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.core.appearance import Appearance
from app.core.calibration import probabilities_from_logits
from training.data.index import Index
from training.evaluation.predictions import predictions_of
from training.reliability.input_gate import Distances
from training.runs.records import CrossValidation


@dataclass(frozen=True, slots=True)
class HeldOutPredictions:
    """Predictions on tiles that the model was not trained on: out of fold, or of another site.

    Attributes:
        logits: float64 `[n, C]`, before temperature scaling.
        temperature: the bundle's temperature.
        truth: int64 `[n]`, positions of the labels.
        folds: fold names `[n]`.
        distances: float32 `[n]` to the tiles that each model was trained on, or None.
        appearances: one for each tile.
    """

    logits: NDArray[np.float64]
    temperature: float
    truth: NDArray[np.int64]
    folds: NDArray[np.str_]
    distances: Distances
    appearances: tuple[Appearance, ...]

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Calibrated probabilities, float32 `[n, C]`."""
        return probabilities_from_logits(self.logits, self.temperature)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """int64 `[n]`, positions of the labels."""
        positions: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return positions


def out_of_fold_predictions(
    run: CrossValidation, index: Index, appearances: Sequence[Appearance], temperature: float
) -> HeldOutPredictions:
    """Combine the predictions of a run with the appearances of its tiles, in the run's order.

    Args:
        run: a cross-validation over the index.
        index: the tiles.
        appearances: one for each tile, in the order of the index.
        temperature: the bundle's temperature.
    """
    predictions = predictions_of(run)
    appearance_of = {
        tile.name: appearance for tile, appearance in zip(index.tiles, appearances, strict=True)
    }
    distances = [answer.distance for answer in run.answers if answer.distance is not None]
    is_complete = len(distances) == len(run.answers)
    return HeldOutPredictions(
        logits=predictions.logits,
        temperature=temperature,
        truth=predictions.truth,
        folds=predictions.folds,
        distances=np.array(distances, dtype=np.float32) if is_complete else None,
        appearances=tuple(appearance_of[answer.tile] for answer in run.answers),
    )
