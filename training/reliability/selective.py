"""Selective prediction: send the most uncertain tiles to review and answer the others."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.storage.frozen_model import FrozenModel

REVIEWED_SHARES: Final = (0.0, 0.1, 0.25, 0.5, 0.75)


class RiskPoint(FrozenModel):
    """One point of a risk-coverage curve.

    Attributes:
        reviewed: share of the tiles that are sent to review.
        n_answered: tiles that are not.
        accuracy: accuracy on the answered tiles; None if there are none.
        wrong_caught: share of all wrong predictions that are reviewed; None if none is wrong.
    """

    reviewed: float
    n_answered: int
    accuracy: float | None
    wrong_caught: float | None


def risk_coverage(
    uncertainty: NDArray[np.float64], is_wrong: NDArray[np.bool_]
) -> tuple[RiskPoint, ...]:
    """Points of the risk-coverage curve at `REVIEWED_SHARES` (El-Yaniv & Wiener 2010, JMLR 11).

    Args:
        uncertainty: float64 `[n]`; the largest values are reviewed first.
        is_wrong: bool `[n]`.
    """
    order = np.argsort(-uncertainty, kind="stable")
    n_tiles, n_wrong = len(uncertainty), int(is_wrong.sum())
    points = []
    for share in REVIEWED_SHARES:
        n_reviewed = math.ceil(share * n_tiles)
        caught = int(is_wrong[order[:n_reviewed]].sum())
        answered = is_wrong[order[n_reviewed:]]
        points.append(
            RiskPoint(
                reviewed=share,
                n_answered=len(answered),
                accuracy=float(1.0 - answered.mean()) if len(answered) else None,
                wrong_caught=caught / n_wrong if n_wrong else None,
            )
        )
    return tuple(points)
