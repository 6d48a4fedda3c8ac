"""Logistic regressions on parts of the embedding, as the weights of an ordinary head.

Each is multinomial, L2-penalised, fitted on standardised features; the logits of all parts are
averaged. A layer with many channels therefore counts as much as one with few, which a single
regression on all channels would not give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_ABSENT_LABEL: Final = -10.0
"""Logit of a label that no training tile has."""
_MAX_ITERATIONS: Final = 500
_TOLERANCE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class LinearMap:
    """logits = features @ kernel + bias.

    Attributes:
        kernel: float64 `[K, C]`.
        bias: float64 `[C]`.
        knows: bool `[C]`, the labels that it was fitted on; the logits of others mean nothing.
    """

    kernel: NDArray[np.float64]
    bias: NDArray[np.float64]
    knows: NDArray[np.bool_]

    def __call__(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Logits `[n, C]` of features `[n, K]`."""
        logits: NDArray[np.float64] = features @ self.kernel + self.bias
        return logits


def fit_logistic(
    features: NDArray[np.floating],
    class_indices: NDArray[np.int64],
    weights: NDArray[np.float64],
    n_labels: int,
    penalty_c: float,
) -> LinearMap:
    """Fit one regression.

    Args:
        features: `[n, K]`.
        class_indices: int64 `[n]`; at least two labels.
        weights: float64 `[n]`, above 0; how much each row counts.
        n_labels: C, labels of the model; one without rows gets a logit below all others.
        penalty_c: inverse strength of the penalty, for features with a deviation of 1.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(features, sample_weight=weights)
    regression = LogisticRegression(C=penalty_c, max_iter=_MAX_ITERATIONS, tol=_TOLERANCE)
    regression.fit(scaler.transform(features), class_indices, sample_weight=weights)
    coefficients, intercepts = regression.coef_, regression.intercept_
    if len(regression.classes_) == 2:  # scikit-learn fits one, of the second label
        signs = np.array([-0.5, 0.5])
        coefficients, intercepts = signs[:, None] * coefficients, signs * intercepts
    kernel = np.zeros((features.shape[1], n_labels))
    bias = np.full(n_labels, _ABSENT_LABEL)
    # Fold the scaler in: w ((p - mean) / scale) + b.
    kernel[:, regression.classes_] = (coefficients / scaler.scale_).T
    bias[regression.classes_] = intercepts - scaler.mean_ @ kernel[:, regression.classes_]
    knows = np.isin(np.arange(n_labels), regression.classes_)
    return LinearMap(kernel, bias, knows)


def average_maps(maps: Sequence[LinearMap], weights: Sequence[float]) -> LinearMap:
    """The weighted mean of the logits of linear maps on consecutive parts of a vector.

    The logit of a label is the mean over the maps that know it: a part that was fitted without a
    label says nothing about it. A label that no map knows gets a logit below all others.
    """
    knows = np.array([one.knows for one in maps])
    shares = np.array(weights, dtype=float)[:, None] * knows
    shares /= np.maximum(shares.sum(axis=0), np.finfo(float).tiny)  # [n_maps, C]
    kernel = np.concatenate([share * one.kernel for share, one in zip(shares, maps, strict=True)])
    bias = sum(share * one.bias for share, one in zip(shares, maps, strict=True))
    known: NDArray[np.bool_] = np.any(knows, axis=0)
    return LinearMap(kernel, np.where(known, bias, _ABSENT_LABEL), known)
