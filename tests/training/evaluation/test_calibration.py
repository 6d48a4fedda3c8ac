from __future__ import annotations

import math

import numpy as np
import pytest

from tests.training.evaluation.runs import run_of
from training.errors import RunError
from training.evaluation.calibration import (
    brier_score,
    calibrate,
    expected_calibration_error,
    fit_temperature,
    log_loss,
    measure_calibration,
)


def test_expected_calibration_error_is_the_gap_of_confidence_and_accuracy() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0]] * 4 + [[0.6, 0.3, 0.1]] * 4, dtype=np.float32)
    truth = np.array([0, 0, 0, 1, 0, 1, 1, 1])
    # Half the tiles are overconfident by 0.15, the other half by 0.35.
    assert expected_calibration_error(probabilities, truth) == pytest.approx(0.25)
    assert log_loss(probabilities[:1], truth[:1]) == pytest.approx(-np.log(0.9))


def test_brier_score_by_hand() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.0, 0.0, 1.0]], np.float32)
    # 0.3^2 + 0.2^2 + 0.1^2 = 0.14, and the worst possible score, 2.
    assert brier_score(probabilities, np.array([0, 1])) == pytest.approx((0.14 + 2.0) / 2)


def test_measure_calibration_applies_the_temperature() -> None:
    logits = np.log(np.array([[0.8, 0.1, 0.1], [0.8, 0.1, 0.1]]))
    truth = np.array([0, 1])
    one, cool = (measure_calibration(logits, truth, temperature) for temperature in (1.0, 0.5))
    assert (one.temperature, cool.temperature) == (1.0, 0.5)
    assert one.log_loss == pytest.approx(-(math.log(0.8) + math.log(0.1)) / 2, abs=1e-5)
    assert one.ece == pytest.approx(0.3, abs=1e-5)
    assert cool.log_loss == pytest.approx(-(math.log(64 / 66) + math.log(1 / 66)) / 2, abs=1e-5)
    assert cool.brier > one.brier


def test_fit_temperature_recovers_the_one_that_was_applied() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 3))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (probabilities.cumsum(axis=1) < rng.random((4000, 1))).sum(axis=1)
    assert fit_temperature(logits * 3.0, truth) == pytest.approx(3.0, rel=0.1)


def test_calibrate_rejects_other_splits_than_by_slide() -> None:
    with pytest.raises(RunError, match="not by random"):
        calibrate(run_of([(0, 0), (1, 0)], kind="random"))
