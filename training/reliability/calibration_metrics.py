"""How good probabilities are, on answers to tiles that were not trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.core.calibration import probabilities_from_logits
from training.evaluation.metrics import expected_calibration_error, log_loss
from training.reliability.report import CalibrationQuality


def measure_quality(
    logits: NDArray[np.float64], truth: NDArray[np.int64], temperature: float
) -> CalibrationQuality:
    """ECE, Brier score and log loss at a temperature.

    Args:
        logits: float64 `[n, C]`.
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


def brier_score(probabilities: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """Mean squared distance of the probabilities from the truth (Brier 1950), in [0, 2]."""
    target = np.eye(probabilities.shape[1])[truth]
    return float(((probabilities - target) ** 2).sum(axis=1).mean())
