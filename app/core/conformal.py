"""Prediction sets that contain the true label with a stated probability.

Split-conformal prediction with one of two scores:

- `least_ambiguous`: one minus the probability of a label (Sadinle, Lei & Wasserman 2019,
  arXiv:1609.00451). Of all scores it gives the smallest sets at a coverage.
- `adaptive`: the probability of all labels that are at least as likely (Romano, Sesia & Candes
  2020, arXiv:2006.02544), without their randomisation, so that a tile always gets the same set.
  Bundles up to `osteo-mobilenetv2` 3 use it.

The most probable label is always in a set, which can only raise the coverage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

_ROUNDING: Final = 1e-6
"""Bundles store scores to six decimals (error 5e-7); a float32 row sums to 1 within 2e-7."""


SetScore = Literal["adaptive", "least_ambiguous"]
"""How far a label is from belonging to a tile."""


def label_scores(
    probabilities: NDArray[np.floating], score: SetScore = "adaptive"
) -> NDArray[np.float64]:
    """Score every label of every tile; a set has the labels up to a threshold.

    Args:
        probabilities: float `[n, C]` in [0, 1]; rows sum to 1.
        score: which score; see the module.

    Returns:
        float64 `[n, C]` in [0, 1 + rounding error].
    """
    values = np.asarray(probabilities, dtype=np.float64)
    if score == "least_ambiguous":
        return 1.0 - values
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
        scores: scores of the calibration tiles' true labels, ascending.
        coverage: probability in (0, 1) that a set must contain the true label.

    Returns:
        The ceil((n + 1) coverage)-th smallest score; None if there are too few tiles.
    """
    rank = math.ceil((len(scores) + 1) * _exactly(coverage))
    return float(scores[rank - 1]) if rank <= len(scores) else None


def prediction_set(
    probabilities: NDArray[np.floating], threshold: float, score: SetScore = "adaptive"
) -> list[int]:
    """Build the prediction set of one tile.

    Args:
        probabilities: float `[C]` in [0, 1], summing to 1.
        threshold: the result of `threshold_of`.
        score: the score that the threshold belongs to.

    Returns:
        Class indices, the most probable first; that one is always in the set.
    """
    order = np.argsort(-probabilities, kind="stable")
    reached = label_scores(probabilities[np.newaxis], score)[0][order]
    # Without the margin, rounding could drop the label that defined the threshold.
    return [
        int(label) for label, s in zip(order, reached, strict=True) if s <= threshold + _ROUNDING
    ] or [int(order[0])]


def _exactly(coverage: float) -> Fraction:
    """The coverage as the decimal it was written as: in floats, 10 * 0.9 may exceed 9."""
    return Fraction(str(float(coverage)))
