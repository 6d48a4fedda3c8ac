"""The texture measures of a tile in NumPy and mahotas: the reference for `networks.texture`.

`texture_definition` says what is computed. mahotas counts the pairs and computes the measures; the
results are converted to the definitions of the table where the two differ.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.networks.texture_definition import (
    ABSORBANCE_OFFSET,
    HAEMATOXYLIN,
    MEASURES,
    N_LEVELS,
    N_THRESHOLD_LEVELS,
    STEPS,
    Preparation,
    offset_px,
)

_DIRECTION_INDEX: Final = {"0": 0, "45": 1, "90": 2, "135": 3}
"""mahotas numbers the directions, and calls ours by the same steps."""
_BITS: Final = tuple(MEASURES.index(name) for name in MEASURES if name.endswith("Entropy"))
"""Positions of the measures that mahotas states in bits."""
_CORRELATION, _SUM_AVERAGE, _ENTROPY, _INFO_1, _INFO_2 = (
    MEASURES.index(name)
    for name in ("Correlation", "SumAverage", "Entropy", "InfoMeas1", "InfoMeas2")
)


def haralick_measures(
    tile: NDArray[np.uint8], preparation: Preparation = "plain", offset: int | None = None
) -> NDArray[np.float64]:
    """Measure the texture of one tile.

    Args:
        tile: uint8 `[H, W, 3]` RGB.
        preparation: which of the table's two preparations.
        offset: distance of the compared pixels along each axis, in pixels, below H and W; by
            default that of the table, scaled to the tile's height.

    Returns:
        float64 `[52]` in the order of `TABLE_COLUMNS`; without NaN, whatever the tile shows.
    """
    offset = offset or offset_px(tile.shape[0])
    amounts = haematoxylin_amounts(tile)
    if preparation == "thresholded":
        amounts = without_faint(amounts)
    matrices = cooccurrences(grey_levels(amounts), offset)
    return np.stack([_measures(matrix) for matrix in matrices], axis=1).reshape(-1)


def haematoxylin_amounts(tile: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The amount of haematoxylin of each pixel, `[H, W]` in [0, 1]; white is 0."""
    logarithms = np.log(np.arange(256) / 255.0 + ABSORBANCE_OFFSET)
    light = np.exp((logarithms[tile] * HAEMATOXYLIN).sum(axis=-1)) - ABSORBANCE_OFFSET
    amounts: NDArray[np.float64] = 1.0 - np.clip(light, 0.0, 1.0)
    return amounts


def without_faint(amounts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Set the amounts at or below the maximum correlation threshold to 0; `[H, W]` in [0, 1]."""
    scaled = _stretched(amounts) * (N_THRESHOLD_LEVELS - 1)
    counts = np.bincount(scaled.astype(np.int64).ravel(), minlength=N_THRESHOLD_LEVELS)
    return np.where(scaled > _threshold(counts), amounts, 0.0)


def grey_levels(amounts: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Divide the tile's own range of amounts into 8 equal levels, `[H, W]` of 0 to 7."""
    levels = np.floor(_stretched(amounts) * N_LEVELS)
    return np.minimum(levels, N_LEVELS - 1).astype(np.uint8)


def cooccurrences(levels: NDArray[np.uint8], offset: int) -> NDArray[np.int32]:
    """Count the pairs of levels: `[4, 8, 8]`, a matrix for each of `STEPS`, of pixels in pairs.

    Args:
        levels: `[H, W]` of 0 to 7.
        offset: in pixels, below H and W.
    """
    from mahotas.features.texture import cooccurence

    counts = np.zeros((len(STEPS), N_LEVELS, N_LEVELS), dtype=np.int32)
    for direction, matrix in zip(STEPS, counts, strict=True):
        cooccurence(
            levels, _DIRECTION_INDEX[direction], output=matrix, symmetric=False, distance=offset
        )
    return counts


def _stretched(amounts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The tile's own range to [0, 1]; a tile of one colour becomes 0."""
    least, range_ = amounts.min(), np.ptp(amounts)
    stretched: NDArray[np.float64] = (amounts - least) / (range_ if range_ > 0 else 1.0)
    return stretched


def _threshold(counts: NDArray[np.int64]) -> int:
    """The value that separates a histogram with the greatest variance between the two parts.

    The expression is that of CellProfiler's `get_maximum_correlation_threshold`, squared.
    """
    values = np.arange(len(counts))
    n_above = np.cumsum(counts[::-1])[::-1][1:]
    from_mean = counts * (values - np.average(values, weights=counts))
    sum_above = np.cumsum(from_mean[::-1])[::-1][1:]
    n_pairs = n_above * (counts.sum() - n_above)
    between = np.divide(sum_above**2, n_pairs, out=np.zeros(len(n_pairs)), where=n_pairs > 0)
    return int(between.argmax())


def _measures(matrix: NDArray[np.int32]) -> NDArray[np.float64]:
    """The 13 measures of one co-occurrence matrix, in the order of `MEASURES`."""
    from mahotas.features.texture import haralick_features

    # mahotas takes the variance of the second pixel of a pair, CellProfiler that of the first. The
    # other measures do not change when the matrix is transposed.
    (measures,) = haralick_features([matrix.T], use_x_minus_y_variance=True)
    measures[list(_BITS)] *= math.log(2)
    measures[_SUM_AVERAGE] += 2  # mahotas counts levels from 0
    first, second = (matrix.sum(axis=axis) / matrix.sum() for axis in (1, 0))
    if np.count_nonzero(first) == 1 or np.count_nonzero(second) == 1:
        measures[_CORRELATION] = 0.0
    # mahotas crosses the two distributions in the wrong order if the matrix is not symmetric, and
    # puts bits into the exponential of the second measure.
    greater = max(_entropy(first), _entropy(second))
    information = max(0.0, _entropy(first) + _entropy(second) - measures[_ENTROPY])
    measures[_INFO_1] = -information / greater if greater > 0 else 0.0
    measures[_INFO_2] = math.sqrt(-math.expm1(-2.0 * information))
    result: NDArray[np.float64] = measures + 0.0  # no negative zeros
    return result


def _entropy(probabilities: NDArray[np.float64]) -> float:
    """In nats."""
    positive = probabilities[probabilities > 0]
    return float(-(positive * np.log(positive)).sum())
