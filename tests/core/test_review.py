from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from app.core.calibration import predictive_entropy, probabilities_from_logits
from app.core.review import UNCERTAINTY_REASONS, ReviewReason, review_priority

logits = arrays(np.float32, st.integers(2, 6), elements=st.floats(-50, 50, width=32))


def priority(*probabilities: float, reasons: tuple[ReviewReason, ...] = ()) -> float:
    return review_priority(np.array(probabilities, np.float32), reasons)


def test_priority_is_the_entropy_over_its_maximum() -> None:
    assert priority(1.0, 0.0, 0.0) == pytest.approx(0.0, abs=1e-9)
    assert priority(0.5, 0.5, 0.0) == pytest.approx(np.log(2) / np.log(3), abs=1e-6)
    assert priority(1 / 3, 1 / 3, 1 / 3) == pytest.approx(1.0, abs=1e-6)
    assert priority(0.5, 0.5) == pytest.approx(1.0, abs=1e-6)


@given(logits)
def test_priority_of_any_answer_is_in_range(values: NDArray[np.float32]) -> None:
    assert 0.0 <= review_priority(probabilities_from_logits(values[None], 1.0)[0], ()) <= 1.0


def test_priority_has_the_order_of_the_model_card() -> None:
    generator = np.random.default_rng(0)
    answers = generator.dirichlet([0.5, 0.5, 0.5], 200).astype(np.float32)
    order = np.argsort([review_priority(answer, ()) for answer in answers], kind="stable")
    assert np.array_equal(order, np.argsort(predictive_entropy(answers), kind="stable"))


@pytest.mark.parametrize("reason", sorted(UNCERTAINTY_REASONS))
def test_uncertainty_is_not_counted_twice(reason: ReviewReason) -> None:
    assert priority(0.5, 0.4, 0.1, reasons=(reason,)) == priority(0.5, 0.4, 0.1)


@pytest.mark.parametrize("reason", sorted(set(ReviewReason) - UNCERTAINTY_REASONS))
def test_unfit_tile_is_most_urgent_however_certain_the_answer(reason: ReviewReason) -> None:
    assert priority(1.0, 0.0, 0.0, reasons=(reason,)) == 1.0
    assert priority(0.4, 0.3, 0.3, reasons=(ReviewReason.AMBIGUOUS, reason)) == 1.0
