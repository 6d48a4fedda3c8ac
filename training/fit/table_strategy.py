"""Fit a table system on the training rows of one fold, in one step instead of epochs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.config import TrainingConfig
from training.features.measures import Measures
from training.fit.classifier import Fitted
from training.fit.history import EpochRecord, OnEpoch
from training.fit.scorer import measure_logits
from training.networks.table_machine import fit_table_machine


def fit_table(
    measures: Measures,
    config: TrainingConfig,
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    on_epoch: OnEpoch = lambda _: None,
) -> Fitted:
    """Fit on some rows, then compute the logits of others.

    Args:
        measures: those of all rows.
        config: the run's configuration.
        train: positions of the training rows, int64 `[n_train]`; nothing is learnt from others.
        test: positions of the test rows, int64 `[n_test]`.
        on_epoch: is told of the result, which is the only record.

    Returns:
        The logits and the record. There are no weights, because no bundle can be made of them.

    Raises:
        RunError: all training rows have the same label.
    """
    n_labels = len(config.labels)
    logits_of = fit_table_machine(measures.values[train], measures.class_indices[train], n_labels)
    targets = np.eye(n_labels, dtype=np.float32)[measures.class_indices]
    test_logits = logits_of(measures.values[test])
    tested = measure_logits(test_logits, targets[test]) if test.size > 0 else (None, None)
    trained = measure_logits(logits_of(measures.values[train]), targets[train])
    record = EpochRecord("head", 1, *trained, *tested)
    on_epoch(record)
    return Fitted([], [], test_logits, (record,), None)
