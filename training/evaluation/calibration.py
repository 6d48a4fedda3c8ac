"""Temperature scaling, and the quality of the probabilities of held-out tiles.

Fit the temperature on logits of tiles that the model was not trained on. On its training tiles a
model is confident and correct, so no temperature above 1 would look necessary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.calibration import probabilities_from_logits
from app.core.manifest import SplitKind
from training.data.index import Index
from training.data.splits import possible_kinds
from training.errors import RunError
from training.evaluation.predictions import predictions_of
from training.runs.records import CrossValidation
from training.storage.frozen_model import FrozenModel

N_ECE_BINS: Final = 10
TEMPERATURE_RANGE: Final = (0.05, 20.0)
"""Outside this range, predictions are almost certain or almost uniform: something else is wrong."""


class CalibrationQuality(FrozenModel):
    """Quality of held-out probabilities at one temperature.

    Attributes:
        ece: expected calibration error over `N_ECE_BINS` bins, in [0, 1].
        brier: Brier score, in [0, 2].
        log_loss: in nats.
    """

    temperature: float
    ece: float
    brier: float
    log_loss: float


def measure_calibration(
    logits: NDArray[np.float64], truth: NDArray[np.int64], temperature: float
) -> CalibrationQuality:
    """Measure ECE, Brier score and log loss at a temperature.

    Args:
        logits: float64 `[n, C]`, before temperature scaling.
        truth: int64 `[n]`.
        temperature: above 0.
    """
    probabilities = probabilities_from_logits(logits, temperature)
    return CalibrationQuality(
        temperature=temperature,
        ece=expected_calibration_error(probabilities, truth),
        brier=brier_score(probabilities, truth),
        log_loss=log_loss(probabilities, truth),
    )


def expected_calibration_error(
    probabilities: NDArray[np.float32], truth: NDArray[np.int64], n_bins: int = N_ECE_BINS
) -> float:
    """Mean gap between confidence and accuracy over equal-width bins (Naeini et al. 2015, AAAI).

    Args:
        probabilities: float32 `[n, C]`.
        truth: int64 `[n]`.
        n_bins: number of bins of the largest probability over [0, 1].
    """
    return sum(
        abs(confidence - accuracy) * share
        for confidence, accuracy, share in reliability_bins(probabilities, truth, n_bins)
    )


def reliability_bins(
    probabilities: NDArray[np.float32], truth: NDArray[np.int64], n_bins: int = N_ECE_BINS
) -> list[tuple[float, float, float]]:
    """(mean confidence, accuracy, share of tiles) of every non-empty bin, ascending.

    Args:
        probabilities: float32 `[n, C]`.
        truth: int64 `[n]`.
        n_bins: number of bins of the largest probability over [0, 1].
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    hits = probabilities.argmax(axis=1) == truth
    bins = np.minimum((confidence * n_bins).astype(np.int64), n_bins - 1)
    return [
        (float(confidence[members].mean()), float(hits[members].mean()), float(members.mean()))
        for members in (bins == number for number in np.unique(bins))
    ]


def log_loss(probabilities: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """Mean negative log probability of the true label, in nats.

    Args:
        probabilities: float32 `[n, C]`.
        truth: int64 `[n]`.
    """
    chosen = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    return float(-np.log(np.clip(chosen, np.finfo(np.float32).tiny, 1.0)).mean())


def brier_score(probabilities: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """Mean squared distance of the probabilities from the truth, in [0, 2] (Brier 1950).

    Args:
        probabilities: float32 `[n, C]`.
        truth: int64 `[n]`.
    """
    target = np.eye(probabilities.shape[1])[truth]
    return float(((probabilities - target) ** 2).sum(axis=1).mean())


def fit_temperature(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """Fit the temperature with the lowest log loss (Guo et al. 2017, arXiv:1706.04599).

    Args:
        logits: float64 `[n, C]` of tiles that the model was not trained on.
        truth: int64 `[n]`.

    Returns:
        A temperature within `TEMPERATURE_RANGE`; above 1 if the model was overconfident.
    """
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda log_t: log_loss(probabilities_from_logits(logits, float(np.exp(log_t))), truth),
        bounds=tuple(np.log(TEMPERATURE_RANGE)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return round(float(np.exp(found.x)), 4)


def calibrating_kind(index: Index) -> SplitKind:
    """The split whose predictions the temperature is fitted on: the strictest that is possible.

    By slide if slides are known. A random split makes the model overconfident.
    """
    kinds = possible_kinds(index)
    return next(kind for kind in ("slide", "patient", "random") if kind in kinds)


def calibrating_run(index: Index, runs: Sequence[CrossValidation]) -> CrossValidation:
    """The run of `calibrating_kind` among some runs.

    Raises:
        RunError: there is none, or it has one fold only, so that most tiles were not tested.
    """
    kind = calibrating_kind(index)
    found = next((run for run in runs if run.kind == kind), None)
    if found is None:
        raise RunError(f"A bundle needs a cross-validation by {kind} to fit its temperature.")
    if len(found.folds) < 2:
        raise RunError(
            f"The temperature is fitted on the split by {kind}, because slides are unknown. It "
            "needs at least 2 folds: set splits.random_folds, or use 'osteo-train split --folds'."
        )
    return found


def calibrate(run: CrossValidation) -> float:
    """Fit the temperature on a cross-validation by slide, or by any split if slides are unknown.

    Raises:
        RunError: the run used another split: predictions of a random split are overconfident, and
            a patient split has too few, too different groups.
    """
    if run.kind != "slide" and run.knows_slides:
        raise RunError(f"Calibration needs a cross-validation by slide, not by {run.kind}.")
    predictions = predictions_of(run)
    return fit_temperature(predictions.logits, predictions.truth)
