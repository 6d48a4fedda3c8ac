"""Logistic regressions as linear maps."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from training.networks.logistic_head import LinearMap, average_maps, fit_logistic
from training.networks.svm_head import as_head

RNG = np.random.default_rng(0)
TRUTH = np.arange(60) % 3
FEATURES = (RNG.normal(0, 1, (60, 5)) + 2 * np.eye(5)[TRUTH] + 7).astype(np.float32)
ONES = np.ones(60)


def fit(seen: tuple[int, ...] = (0, 1, 2)) -> LinearMap:
    shown = np.isin(TRUTH, seen)
    return fit_logistic(FEATURES[shown], TRUTH[shown], ONES[shown], 3, 0.1)


def probabilities(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return result


def test_fit_logistic_equals_scikit_learn_on_standardised_features() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaled = StandardScaler().fit_transform(FEATURES)
    expected = LogisticRegression(C=0.1, tol=1e-6).fit(scaled, TRUTH).predict_proba(scaled)
    np.testing.assert_allclose(probabilities(fit()(FEATURES)), expected, atol=5e-3)


def test_fit_logistic_gives_the_same_weights_twice() -> None:
    one, other = fit(), fit()
    np.testing.assert_array_equal(one.kernel, other.kernel)
    np.testing.assert_array_equal(one.bias, other.bias)


@pytest.mark.parametrize("seen", [(0, 1), (0, 2), (1, 2)])
def test_fit_logistic_tells_two_labels_apart_and_never_predicts_the_third(
    seen: tuple[int, int],
) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    shown = np.isin(TRUTH, seen)
    scaled = StandardScaler().fit_transform(FEATURES[shown])
    expected = LogisticRegression(C=0.1, tol=1e-6).fit(scaled, TRUTH[shown]).predict_proba(scaled)
    found = probabilities(fit(seen)(FEATURES[shown]))
    np.testing.assert_allclose(found[:, seen], expected, atol=5e-3)
    assert np.delete(found, seen, axis=1).max() < 0.01


def test_fit_logistic_counts_a_row_as_often_as_its_weight_says() -> None:
    weights = np.where(TRUTH == 0, 3.0, 1.0)
    repeated = np.repeat(np.arange(60), weights.astype(int))
    weighed = fit_logistic(FEATURES, TRUTH, weights, 3, 0.1)
    counted = fit_logistic(FEATURES[repeated], TRUTH[repeated], np.ones(100), 3, 0.1)
    np.testing.assert_allclose(weighed(FEATURES), counted(FEATURES), atol=1e-3)


def test_average_maps_gives_the_weighted_mean_of_the_logits() -> None:
    one = LinearMap(RNG.normal(size=(2, 3)), RNG.normal(size=3), np.full(3, True))
    other = LinearMap(RNG.normal(size=(3, 3)), RNG.normal(size=3), np.full(3, True))
    expected = (one(FEATURES[:, :2]) + 3 * other(FEATURES[:, 2:])) / 4
    np.testing.assert_allclose(average_maps([one, other], [1, 3])(FEATURES), expected)


def test_as_head_computes_the_same_logits_behind_its_relu() -> None:
    linear = fit()
    kernel, bias, mixing, offset = as_head(linear.kernel, linear.bias)
    logits = np.maximum(FEATURES @ kernel + bias, 0) @ mixing + offset
    np.testing.assert_allclose(logits, linear(FEATURES), atol=1e-4)


def test_average_maps_leaves_a_label_to_the_maps_that_know_it() -> None:
    whole, without = fit(), fit((0, 1))
    both = average_maps([whole, without], [1.0, 3.0])
    found = both(np.concatenate([FEATURES, FEATURES], axis=1))
    np.testing.assert_allclose(found[:, 2], whole(FEATURES)[:, 2])
    mean = (whole(FEATURES)[:, :2] + 3 * without(FEATURES)[:, :2]) / 4
    np.testing.assert_allclose(found[:, :2], mean)
    neither = average_maps([without, without], [1.0, 1.0])
    assert neither.knows.tolist() == [True, True, False]
    assert neither.bias[2] < -5
