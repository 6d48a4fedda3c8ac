"""Out-of-fold predictions of a run as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.runs.records import CrossValidation


@dataclass(frozen=True, slots=True)
class Predictions:
    """Out-of-fold predictions, in the order of the run.

    Attributes:
        truth: int64 `[n]`, positions of the labels.
        logits: float64 `[n, C]`, before temperature scaling.
        slides: slide names, `[n]`.
        folds: fold names, `[n]`.
    """

    truth: NDArray[np.int64]
    logits: NDArray[np.float64]
    slides: NDArray[np.str_]
    folds: NDArray[np.str_]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """int64 `[n]`, positions of the labels."""
        positions: NDArray[np.int64] = self.logits.argmax(axis=1)
        return positions

    def of_fold(self, name: str) -> Predictions:
        """The predictions of one fold."""
        members = self.folds == name
        return Predictions(
            self.truth[members], self.logits[members], self.slides[members], self.folds[members]
        )


def predictions_of(run: CrossValidation) -> Predictions:
    """Convert the answers of a run to arrays.

    If the slide of a tile is unknown, the tile is its own slide.
    """
    ids = run.config.labels.ids
    return Predictions(
        truth=np.array([ids.index(answer.label) for answer in run.answers]),
        logits=np.array([answer.logits for answer in run.answers], dtype=np.float64),
        slides=np.array([answer.slide or answer.tile for answer in run.answers]),
        folds=np.array([answer.fold for answer in run.answers]),
    )
