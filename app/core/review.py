"""Why a person should look at a tile before its answer is used, and at which tiles first."""

from __future__ import annotations

import math
from collections.abc import Collection
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.calibration import predictive_entropy


class ReviewReason(StrEnum):
    """Stable codes in answers, logs and metrics; `docs/trust.md` explains each."""

    LOW_PROBABILITY = "low_probability"
    AMBIGUOUS = "ambiguous"
    BLANK = "blank"
    BLURRED = "blurred"
    NOT_TISSUE = "not_tissue"
    OUT_OF_DISTRIBUTION = "out_of_distribution"
    NOT_SQUARE = "not_square"
    TOO_SMALL = "too_small"
    DAMAGED = "damaged"


UNCERTAINTY_REASONS: Final = frozenset({ReviewReason.LOW_PROBABILITY, ReviewReason.AMBIGUOUS})
"""Reasons that say nothing but that the probabilities are spread, which their entropy measures."""


def review_priority(probabilities: NDArray[np.float32], reasons: Collection[ReviewReason]) -> float:
    """How urgently a person should look at a tile: the model card's order of review.

    The entropy of the probabilities, divided by its maximum, ln C. If the tile has another reason
    than uncertainty (it is blank, blurred, not tissue, cut ...), its probabilities may mean nothing
    however certain they are, so its priority is 1.

    Args:
        probabilities: float32 `[C]`, temperature applied; C is at least 2.
        reasons: the reasons for review of the tile.

    Returns:
        In [0, 1]; 1 is most urgent.
    """
    if not UNCERTAINTY_REASONS.issuperset(reasons):
        return 1.0
    entropy = float(predictive_entropy(probabilities))
    return min(1.0, max(0.0, entropy / math.log(len(probabilities))))
