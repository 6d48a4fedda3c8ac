"""Review: the answers that most need a person's eye, and what is left without them."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

REVIEWED_SHARES: Final = (0.0, 0.1, 0.25, 0.5, 0.75)


class RiskPoint(BaseModel):
    """Accuracy of what is answered once a share of the tiles went to review."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reviewed: float
    n_answered: int
    accuracy: float | None
    wrong_caught: float | None


def need_of_review(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """How much an answer needs a person's eye: the entropy of its probabilities, in nats.

    Args:
        probabilities: float32 `[n, C]`.

    Returns:
        float64 `[n]`, 0 (certain) to ln C.
    """
    values = np.clip(np.asarray(probabilities, dtype=np.float64), 1e-12, 1.0)
    need: NDArray[np.float64] = -(values * np.log(values)).sum(axis=1)
    return need


def risk_coverage(need: NDArray[np.float64], is_wrong: NDArray[np.bool_]) -> tuple[RiskPoint, ...]:
    """Accuracy as more and more of the tiles, those most in need first, are sent to review.

    `wrong_caught` is the share of all wrong answers among those sent; None where none is wrong.
    `accuracy` is None where no tile is left to be answered.
    """
    order = np.argsort(-need, kind="stable")
    n_tiles, n_wrong = len(need), int(is_wrong.sum())
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
