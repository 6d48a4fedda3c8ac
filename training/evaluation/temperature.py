"""Temperature scaling (Guo et al. 2017, arXiv:1706.04599) on answers to unseen slides.

The temperature must come from logits of tiles that the model did not train on: on its own training
tiles a model is sure, and right.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.calibration import probabilities_from_logits
from training.errors import RunError
from training.evaluation.metrics import log_loss, outcome_of
from training.runs.records import CrossValidation

TEMPERATURE_RANGE: Final = (0.05, 20.0)
"""Beyond, the answers are all but certain or all but uniform, and something else is wrong."""


def fit_temperature(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """The temperature of least log loss.

    Args:
        logits: float `[n, C]`, of tiles that were not trained on.
        truth: int64 `[n]`.

    Returns:
        A number in [0.05, 20]; more than 1 means the model was too sure.
    """
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda log_t: log_loss(probabilities_from_logits(logits, float(np.exp(log_t))), truth),
        bounds=tuple(np.log(TEMPERATURE_RANGE)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return round(float(np.exp(found.x)), 4)


def calibrate(run: CrossValidation) -> float:
    """Fit the temperature on a cross-validation by slide.

    Raises:
        RunError: the run is over another kind of split, whose answers are too sure (random) or of
            too few and unlike groups (patient).
    """
    if run.kind != "slide":
        raise RunError(f"Calibrate on a split by slide; this run is over one by {run.kind}.")
    outcome = outcome_of(run)
    return fit_temperature(outcome.logits, outcome.truth)
