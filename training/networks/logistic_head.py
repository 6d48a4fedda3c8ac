"""One logistic regression for each pooled layer, as the weights of an ordinary head.

Each is multinomial, L2-penalised, fitted on standardised features; the logits of all layers are
averaged. A layer with many channels therefore counts as much as one with few, which a single
regression on all channels would not give.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.networks.svm_head import as_head

_ABSENT_LABEL = -10.0
"""Logit of a label that no training tile has."""
_MAX_ITERATIONS = 300
_TOLERANCE = 1e-3


def fit_logistic(
    features: NDArray[np.float32],
    class_indices: NDArray[np.int64],
    weights: NDArray[np.float64],
    n_labels: int,
    penalty_c: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit one regression.

    Args:
        features: float32 `[n, K]`, pooled from one layer.
        class_indices: int64 `[n]`; at least two labels.
        weights: float64 `[n]`, above 0; how much each row counts.
        n_labels: C, labels of the model; one without rows gets a logit below all others.
        penalty_c: inverse strength of the penalty, for features with a deviation of 1.

    Returns:
        Kernel `[K, C]` and bias `[C]` of a linear map from pooled features to logits; float64.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(features, sample_weight=weights)
    regression = LogisticRegression(C=penalty_c, max_iter=_MAX_ITERATIONS, tol=_TOLERANCE)
    regression.fit(scaler.transform(features), class_indices, sample_weight=weights)
    found, intercepts = regression.coef_, regression.intercept_
    if len(regression.classes_) == 2:  # scikit-learn fits one, for the second label
        found, intercepts = np.array([-1, 1])[:, None] * found / 2, np.array([-1, 1]) * intercepts / 2
    kernel = np.zeros((features.shape[1], n_labels))
    bias = np.full(n_labels, _ABSENT_LABEL)
    # Fold the scaler in: w ((p - mean) / scale) + b.
    kernel[:, regression.classes_] = (found / scaler.scale_).T
    bias[regression.classes_] = intercepts - scaler.mean_ @ kernel[:, regression.classes_]
    return kernel, bias


def average_heads(
    heads: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> list[NDArray[np.float32]]:
    """Average the logits of linear maps on consecutive parts of the embedding.

    Args:
        heads: kernel `[K_i, C]` and bias `[C]` of each part, in the order of the embedding.

    Returns:
        Kernels and biases of a head's two layers, as `build_serving_model` takes them; float32.
    """
    kernel = np.concatenate([kernel for kernel, _ in heads]) / len(heads)
    return as_head(kernel, np.mean([bias for _, bias in heads], axis=0))
