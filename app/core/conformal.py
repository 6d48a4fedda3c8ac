"""Prediction sets that contain the true label with a stated probability.

Split-conformal prediction with adaptive scores (Romano, Sesia & Candes 2020, arXiv:2006.02544)
without their randomisation, so that a tile always gets the same set. Sets are therefore slightly
larger than necessary, never smaller.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

_ROUNDING: Final = 1e-6
"""Bundles store scores to six decimals (error 5e-7); a float32 row sums to 1 within 2e-7."""


def adaptive_scores(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """For every label, sum the probabilities of all labels that are at least as likely.

    Args:
        probabilities: float `[n, C]` in [0, 1]; rows sum to 1.

    Returns:
        float64 `[n, C]` in (0, 1 + rounding error].
    """
    values = np.asarray(probabilities, dtype=np.float64)
    order = np.argsort(-values, axis=1, kind="stable")
    scores = np.empty_like(values)
    ranked = np.take_along_axis(values, order, axis=1).cumsum(axis=1)
    np.put_along_axis(scores, order, ranked, axis=1)
    return scores


def min_tiles(coverage: float) -> int:
    """The least number of calibration tiles for which a threshold guarantees the coverage."""
    exact = _exactly(coverage)
    return math.ceil(exact / (1 - exact))


def threshold_of(scores: Sequence[float], coverage: float) -> float | None:
    """Find the score up to which labels belong to the prediction set.

    Args:
        scores: adaptive scores of the calibration tiles' true labels, ascending.
        coverage: probability in (0, 1) that a set must contain the true label.

    Returns:
        The ceil((n + 1) coverage)-th smallest score; None if there are too few tiles.
    """
    rank = math.ceil((len(scores) + 1) * _exactly(coverage))
    return float(scores[rank - 1]) if rank <= len(scores) else None


def prediction_set(probabilities: NDArray[np.floating], threshold: float) -> list[int]:
    """Build the prediction set of one tile.

    Args:
        probabilities: float `[C]` in [0, 1], summing to 1.
        threshold: the result of `threshold_of`.

    Returns:
        Class indices, the most probable first; that one is always in the set.
    """
    order = np.argsort(-probabilities, kind="stable")
    reached = np.cumsum(np.asarray(probabilities, dtype=np.float64)[order])
    # Without the margin, rounding could drop the label that defined the threshold.
    return [
        int(label) for label, s in zip(order, reached, strict=True) if s <= threshold + _ROUNDING
    ] or [int(order[0])]


def _exactly(coverage: float) -> Fraction:
    """The coverage as the decimal it was written as: in floats, 10 * 0.9 may exceed 9."""
    return Fraction(str(float(coverage)))
