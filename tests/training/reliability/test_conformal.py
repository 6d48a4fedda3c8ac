from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from app.core.calibration import probabilities_from_logits
from app.core.conformal import prediction_set, threshold_of
from training.reliability.conformal import score_apart, score_sets, true_scores
from training.reliability.intervals import binomial_interval

# Adaptive scores of the true labels: 0.5, 0.8, 1.0 (second and third add what is likelier).
PROBABILITIES = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.2, 0.5, 0.3]], np.float32)
TRUTH = np.array([0, 1, 0])


def test_true_scores_by_hand() -> None:
    assert true_scores(PROBABILITIES, TRUTH) == (0.5, 0.8, 1.0)


def test_coverage_by_hand() -> None:
    # Nine scores at 0.8: the 8th smallest is the threshold, 0.8. Sets hold two labels each, of
    # which the third tile's true one is not.
    scores = [(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)]
    found = score_sets("site", 0.8, PROBABILITIES, TRUTH, scores, np.zeros(3, np.int64))
    assert (found.split, found.asked, found.n_tiles) == ("site", 0.8, 3)
    assert found.covered == pytest.approx(2 / 3)
    assert found.mean_labels == 2.0
    assert (found.low, found.high) == pytest.approx((0.0943, 0.9916), abs=1e-4)


def test_every_fold_has_its_own_threshold() -> None:
    scores = [(0.5,), (1.0,)]
    found = score_sets("slide", 0.5, PROBABILITIES, TRUTH, scores, np.array([0, 1, 1]))
    assert found.covered == 1.0
    assert found.mean_labels == pytest.approx((1 + 3 + 3) / 3)


@pytest.mark.parametrize(("n_scores", "is_there"), [(8, False), (9, True)])
def test_too_few_tiles_make_no_guess(n_scores: int, is_there: bool) -> None:
    scores = [tuple(np.linspace(0.1, 1, n_scores))]
    found = score_sets("slide", 0.9, PROBABILITIES, TRUTH, scores, np.zeros(3, np.int64))
    given = (found.covered, found.low, found.high, found.mean_labels)
    assert all((value is not None) is is_there for value in given)
    assert found.n_tiles == 3


def test_folds_are_scored_with_the_others_thresholds() -> None:
    # One fold is sure and right, the other sure and wrong. Its own threshold would tell each fold
    # how wrong it is; the other's cannot.
    probabilities = np.tile(np.array([0.9, 0.06, 0.04], np.float32), (18, 1))
    truth = np.array([0] * 9 + [2] * 9)
    folds = np.array(["right"] * 9 + ["wrong"] * 9)
    found = score_apart("slide", 0.9, probabilities, truth, folds)
    assert found.covered == 0.5
    assert found.mean_labels == 2.0


def test_one_fold_has_no_others_to_learn_from() -> None:
    found = score_apart("slide", 0.8, PROBABILITIES, TRUTH, np.array(["all"] * 3))
    assert found.covered is None


@given(arrays(np.float32, (6, 3), elements=st.floats(-8, 8, width=32)), st.integers(0, 2))
def test_rounding_never_drops_the_label_that_set_the_threshold(
    logits: NDArray[np.float32], label: int
) -> None:
    probabilities = probabilities_from_logits(logits, 1.3)
    scores = true_scores(probabilities, np.full(len(logits), label))
    largest = threshold_of(scores, len(scores) / (len(scores) + 1) - 1e-9)
    assert largest == scores[-1]
    for row in probabilities:
        assert label in prediction_set(row, largest)


# Newcombe 1998, Stat. Med. 17:857, Table I, method 5 ("exact"); 0 of 20 has the closed form
# 1 - 0.025 ** (1 / 20).
@pytest.mark.parametrize(
    ("hits", "tiles", "low", "high"),
    [
        (81, 263, 0.2527, 0.3676),
        (15, 148, 0.0578, 0.1617),
        (0, 20, 0.0, 0.1684),
        (1, 29, 0.0009, 0.1776),
        (20, 20, 0.8316, 1.0),
    ],
)
def test_intervals_are_those_of_clopper_and_pearson(
    hits: int, tiles: int, low: float, high: float
) -> None:
    assert binomial_interval(hits, tiles) == pytest.approx((low, high), abs=5e-5)
