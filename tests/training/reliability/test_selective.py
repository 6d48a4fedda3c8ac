from __future__ import annotations

import math

import numpy as np
import pytest

from training.reliability.calibration_metrics import brier_score, measure_quality
from training.reliability.selective import need_of_review, risk_coverage


def test_need_is_the_entropy() -> None:
    probabilities = np.array([[1, 0, 0], [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]], np.float32)
    expected = [0.0, math.log(2), math.log(3)]
    assert need_of_review(probabilities) == pytest.approx(expected, abs=1e-6)


def test_risk_and_coverage_by_hand() -> None:
    need = np.array([0.1, 0.9, 0.5, 0.7, 0.2, 0.3, 0.4, 0.0])
    is_wrong = np.array([False, True, True, False, False, False, False, False])
    # In the order of need: wrong (0.9), right (0.7), wrong (0.5), right ...
    points = risk_coverage(need, is_wrong)
    assert [point.reviewed for point in points] == [0.0, 0.1, 0.25, 0.5, 0.75]
    assert [point.n_answered for point in points] == [8, 7, 6, 4, 2]
    assert [point.accuracy for point in points] == pytest.approx([6 / 8, 6 / 7, 5 / 6, 1.0, 1.0])
    assert [point.wrong_caught for point in points] == [0.0, 0.5, 0.5, 1.0, 1.0]


def test_nothing_is_caught_where_nothing_is_wrong() -> None:
    points = risk_coverage(np.linspace(0, 1, 8), np.zeros(8, np.bool_))
    assert {point.wrong_caught for point in points} == {None}
    assert {point.accuracy for point in points} == {1.0}


@pytest.mark.parametrize("n_tiles", [1, 2, 3])
def test_accuracy_is_unknown_where_every_tile_is_reviewed(n_tiles: int) -> None:
    last = risk_coverage(np.linspace(0, 1, n_tiles), np.ones(n_tiles, np.bool_))[-1]
    assert (last.n_answered, last.accuracy, last.wrong_caught) == (0, None, 1.0)


def test_brier_score_by_hand() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.0, 0.0, 1.0]], np.float32)
    # 0.3^2 + 0.2^2 + 0.1^2 = 0.14, and the worst there is, 2.
    assert brier_score(probabilities, np.array([0, 1])) == pytest.approx((0.14 + 2.0) / 2)


def test_quality_is_measured_at_the_temperature() -> None:
    logits = np.log(np.array([[0.8, 0.1, 0.1], [0.8, 0.1, 0.1]]))
    truth = np.array([0, 1])
    one, cool = (measure_quality(logits, truth, temperature) for temperature in (1.0, 0.5))
    assert (one.temperature, cool.temperature) == (1.0, 0.5)
    assert one.log_loss == pytest.approx(-(math.log(0.8) + math.log(0.1)) / 2, abs=1e-5)
    assert one.ece == pytest.approx(0.3, abs=1e-5)
    assert cool.log_loss == pytest.approx(-(math.log(64 / 66) + math.log(1 / 66)) / 2, abs=1e-5)
    assert cool.brier > one.brier
