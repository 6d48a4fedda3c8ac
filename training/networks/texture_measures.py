"""Haralick's 13 measures of co-occurrence matrices, as operations of a graph.

The formulas are those of `texture_definition`. Differences of large numbers are avoided, because
the graph computes in float32: variances and covariances are taken about the mean, and the two
information measures come from the mutual information, which is summed directly.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from training.networks.texture_definition import N_LEVELS

_LEVELS: Final = np.arange(1, N_LEVELS + 1, dtype=np.float32)
_ROWS, _COLUMNS = (axis.ravel() for axis in np.meshgrid(_LEVELS, _LEVELS, indexing="ij"))
_TINY: Final = 1e-30
"""Far below the share of one pair, 1e-6. It keeps logarithms and quotients finite."""


def measures_of(matrices: Any) -> Any:
    """Measure each matrix.

    Args:
        matrices: float32 `[..., 8, 8]`, the share of each pair of levels; the sum of each is 1.

    Returns:
        float32 `[..., 13]` in the order of `MEASURES`; 0 for a measure that is not defined.
    """
    shares = tf.reshape(matrices, [-1, *matrices.shape[1:-2], N_LEVELS * N_LEVELS])
    first, second = _summed_by(shares, _ROWS), _summed_by(shares, _COLUMNS)
    sums = _summed_by(shares, _ROWS + _COLUMNS)
    differences = _summed_by(shares, np.abs(_ROWS - _COLUMNS))
    variance, deviation = _variance(first, _LEVELS)
    other_variance, other_deviation = _variance(second, _LEVELS)
    together = deviation[..., :, None] * other_deviation[..., None, :]
    covariance = tf.reduce_sum(tf.reshape(together, tf.shape(shares)) * shares, axis=-1)
    sum_values = np.arange(2, 2 * N_LEVELS + 1, dtype=np.float32)
    difference_values = np.arange(N_LEVELS, dtype=np.float32)
    information = _mutual_information(shares, first, second)
    greater_entropy = tf.maximum(_entropy(first), _entropy(second))
    tangent = tf.tanh(information)
    return tf.stack(
        [
            tf.reduce_sum(shares * shares, axis=-1),
            _mean(differences, difference_values**2),
            covariance / tf.maximum(tf.sqrt(variance * other_variance), _TINY),
            variance,
            _mean(shares, 1.0 / (1.0 + (_ROWS - _COLUMNS) ** 2)),
            _mean(sums, sum_values),
            _variance(sums, sum_values)[0],
            _entropy(sums),
            _entropy(shares),
            _variance(differences, difference_values)[0],
            _entropy(differences),
            -information / tf.maximum(greater_entropy, _TINY),
            # sqrt(1 - exp(-2 i)), where exp would lose the digits of a small i.
            tf.sqrt(2.0 * tangent / (1.0 + tangent)),
        ],
        axis=-1,
    )


def _summed_by(shares: Any, values: NDArray[np.float32]) -> Any:
    """Sum the shares `[..., 64]` of pairs that have the same value: `[..., distinct values]`."""
    distinct = np.unique(values)
    return tf.matmul(shares, tf.constant(values[:, None] == distinct, tf.float32))


def _mean(shares: Any, values: NDArray[np.float32]) -> Any:
    return tf.reduce_sum(shares * tf.constant(values, tf.float32), axis=-1)


def _variance(shares: Any, values: NDArray[np.float32]) -> tuple[Any, Any]:
    """The variance, `[...]`, and each value's deviation from the mean, `[..., values]`."""
    deviation = tf.constant(values) - _mean(shares, values)[..., None]
    return tf.reduce_sum(shares * deviation * deviation, axis=-1), deviation


def _entropy(shares: Any) -> Any:
    """In nats; a share of 0 adds nothing."""
    return -tf.reduce_sum(shares * tf.math.log(tf.maximum(shares, _TINY)), axis=-1)


def _mutual_information(shares: Any, first: Any, second: Any) -> Any:
    """Between the levels of the two pixels, in nats, at least 0."""
    expected = first[..., :, None] * second[..., None, :]
    expected = tf.maximum(tf.reshape(expected, tf.shape(shares)), _TINY)
    ratio = tf.maximum(shares, _TINY) / expected
    return tf.maximum(tf.reduce_sum(shares * tf.math.log(ratio), axis=-1), 0.0)
