"""A support vector machine with a radial basis function on measures of a table.

It is one machine per label against the rest, as `svm_head` is, so a label's logit is one margin.
scikit-learn's `SVC` would instead fit one machine per pair of labels, and its decision values
(`decision_function_shape="ovr"`) are counts of won pairs with a fraction of at most 1/3. Softmax of
such values says how many pairs a label won, not how clearly, and no temperature repairs that.

No parameter is tuned on tiles: penalty and standardisation are those of `svm_head`, and the kernel
has scikit-learn's default width for standardised measures, 1 / (number of measures x variance).
Labels weigh the same in each machine (`balanced`), because their share differs from case to case.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from training.errors import RunError
from training.networks.svm_head import ABSENT_LABEL, PENALTY

Logits = Callable[[NDArray[np.float64]], NDArray[np.float32]]
"""From measures, float64 `[n, E]` with NaN for what was not measured, to logits, float32 `[n, C]`.
"""


def fit_table_machine(
    measures: NDArray[np.float64], class_indices: NDArray[np.int64], n_labels: int
) -> Logits:
    """Fit the machine; medians, means and standard deviations are those of these rows, too.

    Args:
        measures: float64 `[n, E]`; NaN, which becomes the median, where nothing was measured.
        class_indices: int64 `[n]`.
        n_labels: labels of the model; one without rows gets a decision value below all others.

    Returns:
        A function from measures to decision values, which are the logits.

    Raises:
        RunError: all rows have the same label.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    present = np.unique(class_indices)
    if len(present) < 2:
        raise RunError("All training rows of a fold have the same label. Use another split.")
    # A column without any value stays, as a constant, so that the columns keep their places.
    scaling = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
    )
    scaled = scaling.fit_transform(measures)
    machines = {
        label: SVC(C=PENALTY, kernel="rbf", gamma="scale", class_weight="balanced").fit(
            scaled, class_indices == label
        )
        for label in present
    }

    def logits(measures: NDArray[np.float64]) -> NDArray[np.float32]:
        values = np.full((len(measures), n_labels), ABSENT_LABEL, dtype=np.float32)
        if len(measures) > 0:
            scaled = scaling.transform(measures)
            for label, machine in machines.items():
                values[:, label] = machine.decision_function(scaled)
        return values

    return logits
