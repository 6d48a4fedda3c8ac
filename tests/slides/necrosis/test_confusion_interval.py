"""The true shares behind a model's answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.slides.necrosis.block_bootstrap import N_DRAWS
from app.slides.necrosis.confusion_interval import confusion_interval, solve_shares
from tests.slides.necrosis.patchy_slides import SLIDE_V3

SIMPLEX = arrays(np.float64, 3, elements=st.floats(0.01, 1)).map(lambda x: x / x.sum())
CONFUSION = st.tuples(SIMPLEX, SIMPLEX, SIMPLEX).map(np.stack)


def many(*shares: float) -> np.ndarray:
    return np.tile(np.array(shares), (N_DRAWS, 1))


def error_of(shares: np.ndarray, confusion: np.ndarray, answers: np.ndarray) -> float:
    return float(((shares @ confusion - answers) ** 2).sum())


@given(SIMPLEX, CONFUSION)
def test_solve_shares_finds_the_shares_that_gave_the_answers(
    shares: np.ndarray, confusion: np.ndarray
) -> None:
    answers = shares @ confusion
    found = solve_shares(answers[None], confusion[None])[0]
    assert found.sum() == pytest.approx(1)
    assert error_of(found, confusion, answers) == pytest.approx(0, abs=1e-12)


@given(SIMPLEX, CONFUSION, SIMPLEX)
def test_solve_shares_finds_no_worse_shares_than_any_other(
    answers: np.ndarray, confusion: np.ndarray, other: np.ndarray
) -> None:
    found = solve_shares(answers[None], confusion[None])[0]
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(1)
    assert error_of(found, confusion, answers) <= error_of(other, confusion, answers) + 1e-9


def test_solve_shares_survives_a_model_that_always_answers_the_same() -> None:
    confusion = np.tile([0.2, 0.3, 0.5], (1, 3, 1))
    found = solve_shares(np.array([[0.2, 0.3, 0.5]]), confusion)
    assert np.isfinite(found).all()
    assert found.sum() == pytest.approx(1)


def test_interval_of_a_model_without_errors_is_narrow_and_holds_the_ratio() -> None:
    low, high = confusion_interval(many(0.3, 0.56, 0.14), np.diag([9000] * 3).tolist())
    assert low == pytest.approx(0.8, abs=0.01)
    assert high == pytest.approx(0.8, abs=0.01)


def test_interval_is_wider_if_fewer_tiles_were_measured() -> None:
    few, many_ = (
        confusion_interval(many(0.3, 0.56, 0.14), (factor * np.array(SLIDE_V3)).tolist())
        for factor in (1, 100)
    )
    assert few[1] - few[0] > 2 * (many_[1] - many_[0])


def test_interval_says_nothing_if_the_answers_say_nothing() -> None:
    low, high = confusion_interval(many(0.3, 0.56, 0.14), np.zeros((3, 3), int).tolist())
    assert low == pytest.approx(0, abs=0.01)
    assert high == pytest.approx(1, abs=0.01)


def test_interval_is_all_if_no_answer_is_tumour() -> None:
    low, high = confusion_interval(many(1, 0, 0), np.diag([9000] * 3).tolist())
    assert (low, high) == (0, 1)


def test_interval_of_a_model_of_tumour_only_needs_no_other_tissue() -> None:
    low, high = confusion_interval(many(0, 0.8, 0.2), [[0, 0, 0], [0, 5000, 0], [0, 0, 5000]])
    assert low == pytest.approx(0.8, abs=0.01)
    assert high == pytest.approx(0.8, abs=0.01)


def test_interval_corrects_dead_tumour_that_other_tissue_hides() -> None:
    """A dead slide reads 0.886 with these errors (see `test_huvos`), and the interval holds 1."""
    answers = np.array([0.3, 0.7, 0.0]) @ (np.array(SLIDE_V3) / np.sum(SLIDE_V3, axis=1)[:, None])
    low, high = confusion_interval(many(*answers), SLIDE_V3)
    assert 0.886 < low < high
    assert high == pytest.approx(1, abs=1e-3)
