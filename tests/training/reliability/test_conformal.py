from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from app.core.calibration import probabilities_from_logits
from app.core.conformal import prediction_set, threshold_of
from training.reliability.conformal import (
    SCORE,
    calibration_scores,
    measure_coverage,
    measure_coverage_out_of_fold,
)

# Scores of the true labels: 0.5, 0.7, 0.8 (one minus the probability).
PROBABILITIES = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.2, 0.5, 0.3]], np.float32)
TRUTH = np.array([0, 1, 0])


def test_true_scores_by_hand() -> None:
    assert calibration_scores(PROBABILITIES, TRUTH) == (0.5, 0.7, 0.8)


def test_measure_coverage_by_hand() -> None:
    # With nine scores, the threshold for 0.8 is the 8th smallest, 0.75. Each set holds the two
    # labels of at least 0.25; the third tile's true label is not among them.
    scores = [(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.9)]
    found = measure_coverage("site", 0.8, PROBABILITIES, TRUTH, scores, np.zeros(3, np.int64))
    assert (found.split, found.asked, found.n_tiles) == ("site", 0.8, 3)
    assert found.covered == pytest.approx(2 / 3)
    assert found.mean_labels == 2.0
    assert (found.low, found.high) == pytest.approx((0.0943, 0.9916), abs=1e-4)


def test_measure_coverage_uses_a_threshold_a_fold() -> None:
    scores = [(0.5,), (1.0,)]
    found = measure_coverage("slide", 0.5, PROBABILITIES, TRUTH, scores, np.array([0, 1, 1]))
    assert found.covered == 1.0
    assert found.mean_labels == pytest.approx((1 + 3 + 3) / 3)


@pytest.mark.parametrize(("n_scores", "is_measured"), [(8, False), (9, True)])
def test_measure_coverage_is_none_if_the_calibration_set_is_too_small(
    n_scores: int, is_measured: bool
) -> None:
    scores = [tuple(np.linspace(0.1, 1, n_scores))]
    found = measure_coverage("slide", 0.9, PROBABILITIES, TRUTH, scores, np.zeros(3, np.int64))
    given = (found.covered, found.low, found.high, found.mean_labels)
    assert all((value is not None) is is_measured for value in given)
    assert found.n_tiles == 3


def test_measure_coverage_out_of_fold_calibrates_on_the_other_folds() -> None:
    # Both folds are confident, one correctly and one wrongly. A fold's own threshold would reflect
    # that; the threshold of the other fold cannot.
    probabilities = np.tile(np.array([0.9, 0.06, 0.04], np.float32), (18, 1))
    truth = np.array([0] * 9 + [2] * 9)
    folds = np.array(["correct"] * 9 + ["wrong"] * 9)
    found = measure_coverage_out_of_fold("slide", 0.9, probabilities, truth, folds)
    assert found.covered == 0.5
    assert found.mean_labels == 2.0


def test_measure_coverage_out_of_fold_is_none_with_one_fold() -> None:
    found = measure_coverage_out_of_fold("slide", 0.8, PROBABILITIES, TRUTH, np.array(["all"] * 3))
    assert found.covered is None


@given(arrays(np.float32, (6, 3), elements=st.floats(-8, 8, width=32)), st.integers(0, 2))
def test_calibration_scores_are_rounded_without_losing_the_label_at_the_threshold(
    logits: NDArray[np.float32], label: int
) -> None:
    probabilities = probabilities_from_logits(logits, 1.3)
    scores = calibration_scores(probabilities, np.full(len(logits), label))
    largest = threshold_of(scores, len(scores) / (len(scores) + 1) - 1e-9)
    assert largest == scores[-1]
    for row in probabilities:
        assert label in prediction_set(row, largest, SCORE)
