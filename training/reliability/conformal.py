"""Calibrate conformal prediction sets and measure their coverage on held-out tiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.conformal import SetScore, label_scores, prediction_set, threshold_of
from training.evaluation.intervals import binomial_interval
from training.storage.frozen_model import FrozenModel

COVERAGES: Final = (0.8, 0.9, 0.95)
SCORE: Final[SetScore] = "least_ambiguous"
"""The score of new bundles: its sets are the smallest."""


class Coverage(FrozenModel):
    """Share of prediction sets that contain the true label, with its 95 % interval.

    The measured fields are None if a calibration set is too small for the coverage asked.
    """

    split: str
    asked: float
    n_tiles: int
    covered: float | None = None
    low: float | None = None
    high: float | None = None
    mean_labels: float | None = None


def calibration_scores(
    probabilities: NDArray[np.float32], truth: NDArray[np.int64]
) -> tuple[float, ...]:
    """Scores of the true labels, ascending, rounded to six decimals.

    Args:
        probabilities: float32 `[n, C]` of the calibration set.
        truth: int64 `[n]`.
    """
    scores = label_scores(probabilities, SCORE)[np.arange(len(truth)), truth]
    return tuple(round(float(score), 6) for score in np.sort(scores))


def measure_coverage(
    split: str,
    asked: float,
    probabilities: NDArray[np.float32],
    truth: NDArray[np.int64],
    scores_of_fold: Sequence[Sequence[float]],
    folds: NDArray[np.int64],
) -> Coverage:
    """Measure the coverage of sets whose thresholds come from other tiles.

    Args:
        split: kind of split between these tiles and the calibration sets.
        asked: nominal coverage, in (0, 1).
        probabilities: float32 `[n, C]`.
        truth: int64 `[n]`.
        scores_of_fold: for each fold, the ascending scores of its calibration set.
        folds: int64 `[n]`, positions in `scores_of_fold`.
    """
    found = Coverage(split=split, asked=asked, n_tiles=len(truth))
    thresholds = [threshold_of(scores, asked) for scores in scores_of_fold]
    sizes, n_covered = [], 0
    for row, label, fold in zip(probabilities, truth, folds, strict=True):
        threshold = thresholds[fold]
        if threshold is None:
            return found
        labels = prediction_set(row, threshold, SCORE)
        sizes.append(len(labels))
        n_covered += int(label) in labels
    low, high = binomial_interval(n_covered, len(truth))
    measured = {"covered": n_covered / len(truth), "mean_labels": float(np.mean(sizes))}
    return found.model_copy(update={**measured, "low": low, "high": high})


def measure_coverage_out_of_fold(
    split: str,
    asked: float,
    probabilities: NDArray[np.float32],
    truth: NDArray[np.int64],
    fold_names: NDArray[np.str_],
) -> Coverage:
    """As `measure_coverage`; the calibration set of each fold is all other folds."""
    names, folds = np.unique(fold_names, return_inverse=True)
    scores = [
        calibration_scores(probabilities[folds != i], truth[folds != i]) for i in range(len(names))
    ]
    return measure_coverage(split, asked, probabilities, truth, scores, folds)
