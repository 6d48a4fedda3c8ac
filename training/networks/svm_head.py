"""A linear support vector machine on pooled features, as the weights of an ordinary head.

It is one machine per label against the rest (Cortes & Vapnik 1995). The decision values
`d = Wᵀ p + b` are the logits; a softmax with the calibrated temperature turns them into
probabilities, as for every other system. Platt's sigmoid would need two numbers per label, fitted
on the training tiles or on another split of few tiles; one temperature on unseen slides is safer.

A head has two layers with a ReLU between them. Since `d = relu(d) - relu(-d)`, the layers `[W, -W]`
and `[I; -I]` compute exactly `d`, and export, Grad-CAM and the service need no special case.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

PENALTY: Final = 1.0
"""C, the penalty on margin violations, for standardised features."""
ABSENT_LABEL: Final = -10.0
"""Decision value of a label that no training tile has; margins are about 1."""


def fit_svm(
    features: NDArray[np.float32],
    class_indices: NDArray[np.int64],
    n_labels: int,
    seed: int,
) -> list[NDArray[np.float32]]:
    """Fit the machine.

    Args:
        features: float32 `[n, E]`, pooled.
        class_indices: int64 `[n]`; at least two labels.
        n_labels: labels of the model; one without tiles gets a decision value below all others.
        seed: decides the order in which the solver visits tiles.

    Returns:
        Kernel and bias of a head's hidden layer (`[E, 2 C]`, `[2 C]`) and of its logits
        (`[2 C, C]`, `[C]`), as `build_serving_model` takes them; float32.
    """
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    scaler = StandardScaler().fit(features)
    machine = LinearSVC(C=PENALTY, random_state=seed, max_iter=20_000)
    machine.fit(scaler.transform(features), class_indices)
    kernel = np.zeros((features.shape[1], n_labels))
    bias = np.full(n_labels, ABSENT_LABEL)
    if len(machine.classes_) == 2:  # scikit-learn fits a single machine, for the second label
        machine.coef_ = np.concatenate([-machine.coef_, machine.coef_])
        machine.intercept_ = np.concatenate([-machine.intercept_, machine.intercept_])
    # Fold the scaler in: w ((p - mean) / scale) + b.
    kernel[:, machine.classes_] = (machine.coef_ / scaler.scale_).T
    bias[machine.classes_] = machine.intercept_ - kernel[:, machine.classes_].T @ scaler.mean_
    return as_head(kernel, bias)


def as_head(kernel: NDArray[np.float64], bias: NDArray[np.float64]) -> list[NDArray[np.float32]]:
    """A linear map (float64 `[E, C]` and `[C]`) as the float32 weights of a two-layer head."""
    unit = np.eye(len(bias))
    head = (
        np.concatenate([kernel, -kernel], axis=1),
        np.concatenate([bias, -bias]),
        np.concatenate([unit, -unit]),
        np.zeros(len(bias)),
    )
    return [weights.astype(np.float32) for weights in head]
