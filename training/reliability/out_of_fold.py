"""Answers to tiles that were not trained on, with everything they are judged by, in one order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from app.core.appearance import Appearance
from app.core.calibration import probabilities_from_logits
from training.data.labelled_tiles import LabelledTiles
from training.evaluation.metrics import outcome_of
from training.reliability.input_gate import Distances, measure_all
from training.runs.records import CrossValidation


@dataclass(frozen=True, slots=True)
class Evidence:
    """Out-of-fold answers, in the order of the run.

    Attributes:
        logits: float64 `[n, C]`.
        probabilities: float32 `[n, C]`, calibrated.
        truth: int64 `[n]`, positions in `LABELS`.
        folds: names `[n]`.
        distances: float32 `[n]` from the tiles each model was trained on, or None.
        appearances: of the tiles.
    """

    logits: NDArray[np.float64]
    probabilities: NDArray[np.float32]
    truth: NDArray[np.int64]
    folds: NDArray[np.str_]
    distances: Distances
    appearances: tuple[Appearance, ...]

    @classmethod
    def of_answers(
        cls,
        logits: NDArray[np.float64],
        temperature: float,
        truth: NDArray[np.int64],
        folds: NDArray[np.str_],
        distances: Distances,
        appearances: tuple[Appearance, ...],
    ) -> Self:
        """Calibrate logits and keep them with the rest."""
        probabilities = probabilities_from_logits(logits, temperature)
        return cls(logits, probabilities, truth, folds, distances, appearances)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """int64 `[n]`, positions in `LABELS`."""
        positions: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return positions


def evidence_of(run: CrossValidation, labelled: LabelledTiles, temperature: float) -> Evidence:
    """Bring a run's answers and the tiles they are about together.

    Args:
        run: a cross-validation over the index.
        labelled: the tiles.
        temperature: of the bundle.
    """
    outcome = outcome_of(run)
    position = {tile.name: i for i, tile in enumerate(labelled.index.tiles)}
    measured = [answer.distance for answer in run.answers]
    known = [distance for distance in measured if distance is not None]
    appearances = measure_all(labelled.tiles)
    return Evidence.of_answers(
        outcome.logits,
        temperature,
        outcome.truth,
        outcome.folds,
        np.array(known, dtype=np.float32) if len(known) == len(measured) else None,
        tuple(appearances[position[answer.tile]] for answer in run.answers),
    )
