from __future__ import annotations

import numpy as np
import pytest

from training.reliability.selective import risk_coverage


def test_risk_coverage_by_hand() -> None:
    uncertainty = np.array([0.1, 0.9, 0.5, 0.7, 0.2, 0.3, 0.4, 0.0])
    is_wrong = np.array([False, True, True, False, False, False, False, False])
    # In the order of review: wrong (0.9), correct (0.7), wrong (0.5), correct ...
    points = risk_coverage(uncertainty, is_wrong)
    assert [point.reviewed for point in points] == [0.0, 0.1, 0.25, 0.5, 0.75]
    assert [point.n_answered for point in points] == [8, 7, 6, 4, 2]
    assert [point.accuracy for point in points] == pytest.approx([6 / 8, 6 / 7, 5 / 6, 1.0, 1.0])
    assert [point.wrong_caught for point in points] == [0.0, 0.5, 0.5, 1.0, 1.0]


def test_risk_coverage_catches_nothing_if_nothing_is_wrong() -> None:
    points = risk_coverage(np.linspace(0, 1, 8), np.zeros(8, np.bool_))
    assert {point.wrong_caught for point in points} == {None}
    assert {point.accuracy for point in points} == {1.0}


@pytest.mark.parametrize("n_tiles", [1, 2, 3])
def test_risk_coverage_has_no_accuracy_if_every_tile_is_reviewed(n_tiles: int) -> None:
    last = risk_coverage(np.linspace(0, 1, n_tiles), np.ones(n_tiles, np.bool_))[-1]
    assert (last.n_answered, last.accuracy, last.wrong_caught) == (0, None, 1.0)
