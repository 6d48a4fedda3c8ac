"""95 % intervals: exact for counted shares, bootstrapped over slides for metrics."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.evaluation.predictions import Predictions

N_RESAMPLES: Final = 2000
_TAIL: Final = 0.025


def binomial_interval(n_hits: int, n_tiles: int) -> tuple[float, float]:
    """Exact 95 % interval of a counted share, in [0, 1] (Clopper & Pearson 1934)."""
    from scipy.stats import beta

    low = 0.0 if n_hits == 0 else float(beta.ppf(_TAIL, n_hits, n_tiles - n_hits + 1))
    high = 1.0 if n_hits == n_tiles else float(beta.ppf(1 - _TAIL, n_hits + 1, n_tiles - n_hits))
    return low, high


def accuracy_interval(predictions: Predictions, seed: int) -> tuple[float, float]:
    """95 % bootstrap interval of the accuracy.

    It resamples slides, because tiles of one slide are not independent.
    """
    counts = _resampled_confusions(predictions, seed)
    correct = np.trace(counts, axis1=1, axis2=2)
    return _percentiles(correct / counts.sum(axis=(1, 2)))


def macro_f1_interval(predictions: Predictions, seed: int) -> tuple[float, float]:
    """95 % bootstrap interval of the mean F1 over the labels present in each resample."""
    counts = _resampled_confusions(predictions, seed)
    support, predicted = counts.sum(axis=2), counts.sum(axis=1)
    present = support > 0
    # The denominator is 0 only for a label that is neither present nor predicted.
    f1 = 2 * np.diagonal(counts, axis1=1, axis2=2) / np.maximum(support + predicted, 1)
    return _percentiles((f1 * present).sum(axis=1) / present.sum(axis=1))


def _resampled_confusions(predictions: Predictions, seed: int) -> NDArray[np.int64]:
    """Confusion matrices of slides drawn with replacement, int64 `[N_RESAMPLES, C, C]`."""
    _, slide_of = np.unique(predictions.slides, return_inverse=True)
    n_slides, n_labels = int(slide_of.max()) + 1, predictions.logits.shape[1]
    by_slide = np.zeros((n_slides, n_labels, n_labels), dtype=np.int64)
    np.add.at(by_slide, (slide_of, predictions.truth, predictions.predicted), 1)
    drawn = np.random.default_rng(seed).integers(n_slides, size=(N_RESAMPLES, n_slides))
    times = np.zeros((N_RESAMPLES, n_slides), dtype=np.int64)
    np.add.at(times, (np.arange(N_RESAMPLES)[:, None], drawn), 1)
    counts: NDArray[np.int64] = np.einsum("rs,sij->rij", times, by_slide)
    return counts


def _percentiles(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(values, (100 * _TAIL, 100 * (1 - _TAIL)))
    return float(low), float(high)
