"""The support vector machine on measures: logits, gaps, and nothing learnt from test rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training.table.drawing import write_config
from training.config import read_config
from training.errors import RunError
from training.features.measures import Measures
from training.fit.table_strategy import fit_table
from training.networks.svm_head import ABSENT_LABEL
from training.networks.table_machine import fit_table_machine

Drawn = tuple[
    np.ndarray[tuple[int, ...], np.dtype[np.float64]], np.ndarray[tuple[int], np.dtype[np.int64]]
]


def drawn(n_rows: int = 60, n_labels: int = 3) -> Drawn:
    rng = np.random.default_rng(1)
    labels = np.arange(n_rows) % n_labels
    measures = rng.normal(size=(n_labels, 5))[labels] * 3 + rng.normal(size=(n_rows, 5))
    return measures * (1, 10, 100, 1000, 1e-3), labels


def test_fit_table_machine_tells_labels_apart_at_any_scale() -> None:
    measures, labels = drawn()
    logits = fit_table_machine(measures[:30], labels[:30], 3)(measures[30:])
    assert logits.dtype == np.float32
    assert (logits.argmax(axis=1) == labels[30:]).mean() > 0.9


def test_logits_are_margins_of_one_label_against_the_rest() -> None:
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    measures, labels = drawn()
    logits = fit_table_machine(measures, labels, 3)(measures)
    scaled = StandardScaler().fit_transform(measures)
    machine = SVC(C=1.0, gamma="scale", class_weight="balanced").fit(scaled, labels == 1)
    np.testing.assert_allclose(logits[:, 1], machine.decision_function(scaled), rtol=1e-5)


def test_fit_table_machine_weighs_rare_labels_as_much_as_frequent_ones() -> None:
    rng = np.random.default_rng(0)
    measures = rng.normal(size=(220, 1)) + np.repeat([0.0, 1.5], [200, 20])[:, None]
    labels = np.repeat([0, 1], [200, 20])
    logits = fit_table_machine(measures, labels, 2)(measures)
    assert (logits[200:].argmax(axis=1) == 1).mean() > 0.6


def test_a_value_that_was_not_measured_becomes_the_median_of_the_training_rows() -> None:
    measures, labels = drawn()
    measures[7, 2] = np.nan
    logits_of = fit_table_machine(measures, labels, 3)
    row, gap = measures[[0]].copy(), measures[[0]].copy()
    row[0, 1], gap[0, 1] = np.median(measures[:, 1]), np.nan
    np.testing.assert_array_equal(logits_of(gap), logits_of(row))


@pytest.mark.parametrize("constant", [np.nan, 0.0])
def test_a_column_that_does_not_vary_in_training_changes_nothing(constant: float) -> None:
    measures, labels = drawn()
    wider = np.column_stack([measures, np.full(len(measures), constant)])
    tested = wider.copy()
    tested[:, -1] = 500.0
    logits = fit_table_machine(wider, labels, 3)(tested)
    np.testing.assert_array_equal(logits, fit_table_machine(measures, labels, 3)(measures))


def test_fit_table_machine_refuses_measures_that_do_not_vary() -> None:
    with pytest.raises(RunError, match="No feature differs"):
        fit_table_machine(np.ones((6, 2)), np.arange(6) % 3, 3)


def test_a_label_without_rows_is_never_the_answer() -> None:
    measures, labels = drawn()
    logits = fit_table_machine(measures, labels, 4)(measures)
    assert (logits[:, 3] == ABSENT_LABEL).all()
    assert (logits[:, :3].max(axis=1) > ABSENT_LABEL).all()


def test_fit_table_machine_refuses_a_single_label() -> None:
    measures, _ = drawn()
    with pytest.raises(RunError, match="have the same label"):
        fit_table_machine(measures, np.zeros(60, dtype=np.int64), 3)


def test_fit_table_learns_nothing_from_test_rows(tmp_path: Path) -> None:
    config = read_config(write_config(tmp_path / "c.toml"))
    measures, labels = drawn()
    train, test = np.arange(40), np.arange(40, 60)
    fitted = fit_table(Measures(measures, labels), config, train, test)
    changed, relabelled = measures.copy(), labels.copy()
    changed[41:] *= 1000
    relabelled[40:] = 0
    again = fit_table(Measures(changed, relabelled), config, train, test)
    np.testing.assert_array_equal(fitted.test_logits[0], again.test_logits[0])
    assert not np.allclose(fitted.test_logits[1:], again.test_logits[1:])
