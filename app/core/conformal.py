"""Prediction sets: labels that hold the true one with a stated probability.

Split-conformal prediction with adaptive scores (Romano, Sesia & Candes 2020, arXiv:2006.02544),
without their random tie-breaking: the same tile always gets the same set, which makes the sets a
little larger than they need to be, never smaller.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

_ROUNDING: Final = 1e-6
"""Bundles keep scores to six decimals (off by 5e-7), and a float32 row adds up to 1 within 2e-7."""


def adaptive_scores(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Of every label, the probability of all labels at least as likely as it.

    Args:
        probabilities: `[n, C]`; rows sum to 1.

    Returns:
        float64 `[n, C]` in (0, 1 + rounding].
    """
    values = np.asarray(probabilities, dtype=np.float64)
    order = np.argsort(-values, axis=1, kind="stable")
    scores = np.empty_like(values)
    ranked = np.take_along_axis(values, order, axis=1).cumsum(axis=1)
    np.put_along_axis(scores, order, ranked, axis=1)
    return scores


def min_tiles(coverage: float) -> int:
    """How many calibration tiles a coverage needs: with fewer no finite threshold guarantees it."""
    exact = _exactly(coverage)
    return math.ceil(exact / (1 - exact))


def threshold_of(scores: Sequence[float], coverage: float) -> float | None:
    """The score up to which labels belong to the set.

    Args:
        scores: of the true labels of calibration tiles, ascending.
        coverage: in (0, 1); asked of the set, on tiles like those.

    Returns:
        The ceil((n + 1) coverage)-th smallest score; None where there are too few tiles.
    """
    rank = math.ceil((len(scores) + 1) * _exactly(coverage))
    return float(scores[rank - 1]) if rank <= len(scores) else None


def prediction_set(probabilities: NDArray[np.floating], threshold: float) -> list[int]:
    """Positions of the labels in the set, likeliest first; the likeliest is always in it.

    Args:
        probabilities: `[C]`.
        threshold: as `threshold_of` found it.
    """
    order = np.argsort(-probabilities, kind="stable")
    reached = np.cumsum(np.asarray(probabilities, dtype=np.float64)[order])
    # Rounding must not drop the label that defined the threshold.
    return [
        int(label) for label, s in zip(order, reached, strict=True) if s <= threshold + _ROUNDING
    ] or [int(order[0])]


def _exactly(coverage: float) -> Fraction:
    """The decimal that was asked for: in floats 10 * 0.9 may be more than 9, and a tile missing."""
    return Fraction(str(float(coverage)))
