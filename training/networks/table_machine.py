"""A support vector machine with a radial basis function on measures of a table.

It is one machine per label against the rest, as `svm_head` is, so a label's logit is one margin.
scikit-learn's `SVC` would instead fit one machine per pair of labels, and its decision values
(`decision_function_shape="ovr"`) are counts of won pairs with a fraction of at most 1/3. Softmax of
such values says how many pairs a label won, not how clearly, and no temperature repairs that
(docs/decisions/0066-feature-table.md has the log losses).

No parameter is searched for: penalty and standardisation are those of `svm_head`, and the kernel
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
        RunError: all rows have the same label or the same measures.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    present = np.unique(class_indices)
    if len(present) < 2:
        raise RunError("All training rows of a fold have the same label. Use another split.")
    columns = _varying(measures)
    scaling = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    scaled = scaling.fit_transform(measures[:, columns])
    machines = {
        label: SVC(C=PENALTY, kernel="rbf", gamma="scale", class_weight="balanced").fit(
            scaled, class_indices == label
        )
        for label in present
    }

    def logits(measures: NDArray[np.float64]) -> NDArray[np.float32]:
        values = np.full((len(measures), n_labels), ABSENT_LABEL, dtype=np.float32)
        if len(measures) > 0:
            scaled = scaling.transform(measures[:, columns])
            for label, machine in machines.items():
                values[:, label] = machine.decision_function(scaled)
        return values

    return logits


def _varying(measures: NDArray[np.float64]) -> NDArray[np.int64]:
    """The columns with more than one value, int64 `[m]`.

    A constant has no standard deviation to divide by. In its own unit, another value of a test row
    would outweigh all other columns.

    Raises:
        RunError: there is none.
    """
    varies = [len(np.unique(column[~np.isnan(column)])) > 1 for column in measures.T]
    if not any(varies):
        raise RunError("No feature differs between the training rows of a fold. Check the table.")
    return np.flatnonzero(varies)
