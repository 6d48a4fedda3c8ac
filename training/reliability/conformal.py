"""Prediction sets, calibrated and scored on answers to slides the model did not see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from app.core.conformal import adaptive_scores, prediction_set, threshold_of
from training.reliability.intervals import binomial_interval

COVERAGES: Final = (0.8, 0.9, 0.95)


class Coverage(BaseModel):
    """How often sets held the true label. Shares are null where the sets are unavailable."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: str
    asked: float
    n_tiles: int
    covered: float | None
    low: float | None
    high: float | None
    mean_labels: float | None


def true_scores(probabilities: NDArray[np.float32], truth: NDArray[np.int64]) -> tuple[float, ...]:
    """Adaptive scores of the true labels, ascending."""
    scores = adaptive_scores(probabilities)[np.arange(len(truth)), truth]
    return tuple(round(float(score), 6) for score in np.sort(scores))


def score_sets(
    split: str,
    asked: float,
    probabilities: NDArray[np.float32],
    truth: NDArray[np.int64],
    scores_of_fold: Sequence[Sequence[float]],
    folds: NDArray[np.int64],
) -> Coverage:
    """Score sets whose thresholds come from other tiles.

    Args:
        split: how those were kept apart.
        asked: coverage.
        probabilities: float32 `[n, C]`.
        truth: int64 `[n]`.
        scores_of_fold: of every fold, the ascending scores that its tiles' threshold comes from.
        folds: int64 `[n]`, positions in `scores_of_fold`.
    """
    thresholds = [threshold_of(scores, asked) for scores in scores_of_fold]
    n_tiles = len(truth)
    sizes, n_covered = [], 0
    for row, label, fold in zip(probabilities, truth, folds, strict=True):
        threshold = thresholds[fold]
        if threshold is None:
            return Coverage(
                split=split,
                asked=asked,
                n_tiles=n_tiles,
                covered=None,
                low=None,
                high=None,
                mean_labels=None,
            )
        labels = prediction_set(row, threshold)
        sizes.append(len(labels))
        n_covered += int(label) in labels
    low, high = binomial_interval(n_covered, n_tiles)
    return Coverage(
        split=split,
        asked=asked,
        n_tiles=n_tiles,
        covered=n_covered / n_tiles,
        low=low,
        high=high,
        mean_labels=float(np.mean(sizes)),
    )


def score_apart(
    split: str,
    asked: float,
    probabilities: NDArray[np.float32],
    truth: NDArray[np.int64],
    fold_names: NDArray[np.str_],
) -> Coverage:
    """Score sets of every fold's tiles with a threshold from all other folds."""
    names, folds = np.unique(fold_names, return_inverse=True)
    others = [true_scores(probabilities[folds != i], truth[folds != i]) for i in range(len(names))]
    return score_sets(split, asked, probabilities, truth, others, folds)
