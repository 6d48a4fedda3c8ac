from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.core.calibration import predictive_entropy, probabilities_from_logits
from app.core.errors import InferenceError

logits = arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(2, 4)),
    elements=st.floats(-1e4, 1e4, width=32),
)


@given(logits, st.floats(0.05, 50))
def test_probabilities_are_in_range_and_sum_to_one(
    values: np.typing.NDArray[np.float32], temperature: float
) -> None:
    probabilities = probabilities_from_logits(values, temperature)
    assert probabilities.dtype == np.float32
    assert probabilities.min() >= 0
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-6)


@given(logits, st.floats(0.05, 50))
def test_temperature_never_changes_the_prediction(
    values: np.typing.NDArray[np.float32], temperature: float
) -> None:
    probabilities = probabilities_from_logits(values, temperature)
    rows = np.arange(len(values))
    # Probabilities of two nearly equal logits may round to the same number.
    assert np.all(probabilities[rows, values.argmax(axis=1)] == probabilities.max(axis=1))


def test_higher_temperature_lowers_the_probability() -> None:
    cold, hot = (probabilities_from_logits([[2.0, 0.0]], t)[0, 0] for t in (1.0, 3.0))
    assert 0.5 < hot < cold


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_logit_is_rejected(bad: float) -> None:
    with pytest.raises(InferenceError):
        probabilities_from_logits([[0.0, bad, 1.0]], 1.0)


def test_predictive_entropy_is_in_nats() -> None:
    probabilities = np.array([[1, 0, 0], [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]], np.float32)
    expected = [0.0, math.log(2), math.log(3)]
    assert predictive_entropy(probabilities) == pytest.approx(expected, abs=1e-6)
