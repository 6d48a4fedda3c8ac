from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from app.core.conformal import SetScore, label_scores, min_tiles, prediction_set, threshold_of

coverages = st.floats(0.01, 0.999)
weights = arrays(np.float32, st.integers(2, 6), elements=st.floats(0.0009765625, 1.0, width=32))


def normalised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    shares: NDArray[np.float32] = values / values.sum()
    return shares


@given(weights, st.floats(0, 1.1), st.floats(0, 1.1))
def test_sets_nest_with_the_threshold(
    values: NDArray[np.float32], one: float, other: float
) -> None:
    smaller, larger = (
        prediction_set(normalised(values), threshold) for threshold in sorted((one, other))
    )
    assert larger[: len(smaller)] == smaller


@given(st.lists(st.floats(0, 1), max_size=200), coverages, coverages)
def test_thresholds_rise_with_the_coverage(scores: list[float], one: float, other: float) -> None:
    lower, higher = (threshold_of(sorted(scores), coverage) for coverage in sorted((one, other)))
    if higher is not None:
        assert lower is not None, "enough tiles for a higher coverage are enough for a lower one"
        assert lower <= higher


@given(weights, st.floats(0, 1.1))
def test_likeliest_label_is_always_in_the_set_and_first(
    values: NDArray[np.float32], threshold: float
) -> None:
    probabilities = normalised(values)
    labels = prediction_set(probabilities, threshold)
    assert probabilities[labels[0]] == probabilities.max()
    assert len(set(labels)) == len(labels)
    assert [*probabilities[labels]] == sorted(probabilities[labels], reverse=True)


@pytest.mark.parametrize("kind", get_args(SetScore))
@given(values=weights)
def test_set_at_a_labels_score_contains_it(kind: SetScore, values: NDArray[np.float32]) -> None:
    probabilities = normalised(values)
    for label, score in enumerate(label_scores(probabilities[np.newaxis], kind)[0]):
        assert label in prediction_set(probabilities, float(score), kind)


def test_least_ambiguous_set_has_the_labels_of_enough_probability_and_is_never_empty() -> None:
    probabilities = np.array([0.2, 0.5, 0.3], np.float32)
    assert prediction_set(probabilities, 0.7, "least_ambiguous") == [1, 2]
    assert prediction_set(probabilities, 0.1, "least_ambiguous") == [1]


@given(weights)
def test_score_is_the_probability_of_all_at_least_as_likely(values: NDArray[np.float32]) -> None:
    probabilities = np.unique(normalised(values))  # without ties the definition is one line
    scores = label_scores(probabilities[np.newaxis])[0]
    expected = [probabilities[probabilities >= p].sum(dtype=np.float64) for p in probabilities]
    assert scores == pytest.approx(expected)


@given(st.integers(1, 999))
def test_threshold_needs_at_least_min_tiles(thousandths: int) -> None:
    coverage = thousandths / 1000
    enough = min_tiles(coverage)
    assert threshold_of([0.5] * (enough - 1), coverage) is None
    assert threshold_of([0.5] * enough, coverage) == 0.5


@pytest.mark.parametrize(
    ("coverage", "n_tiles"),
    [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99), (0.999999, 999_999), (1e-5, 1)],
)
def test_min_tiles_of_common_coverages(coverage: float, n_tiles: int) -> None:
    assert min_tiles(coverage) == n_tiles


@pytest.mark.parametrize(("n_tiles", "rank"), [(9, 9), (10, 10), (19, 18), (99, 90), (100, 91)])
def test_threshold_has_the_rank_of_romano_et_al(n_tiles: int, rank: int) -> None:
    scores = [i / n_tiles for i in range(1, n_tiles + 1)]
    assert threshold_of(scores, 0.9) == scores[rank - 1]


@pytest.mark.parametrize("coverage", [0.6, 0.8, 0.9, 0.95])
def test_coverage_holds_on_exchangeable_tiles(coverage: float) -> None:
    rng = np.random.default_rng(5)
    n_calibration, n_tests, n_rounds = 41, 50, 60
    n_covered = 0
    for _ in range(n_rounds):
        probabilities = rng.dirichlet((0.6, 0.5, 0.4), n_calibration + n_tests)
        # The guarantee holds even if the model's probabilities are wrong.
        odds = probabilities**0.3
        odds /= odds.sum(axis=1, keepdims=True)
        truth = (odds.cumsum(axis=1) < rng.random((len(odds), 1))).sum(axis=1)
        scores = label_scores(probabilities[:n_calibration])
        own = np.sort(scores[np.arange(n_calibration), truth[:n_calibration]])
        threshold = threshold_of(own.tolist(), coverage)
        assert threshold is not None
        pairs = zip(probabilities[n_calibration:], truth[n_calibration:], strict=True)
        n_covered += sum(label in prediction_set(p, threshold) for p, label in pairs)
    # Three standard errors; rounds vary with their calibration (Vovk 2012: a Beta) and test tiles.
    variance = coverage * (1 - coverage) * (1 / (n_calibration + 2) + 1 / n_tests) / n_rounds
    assert n_covered / (n_rounds * n_tests) >= coverage - 3 * math.sqrt(variance)
