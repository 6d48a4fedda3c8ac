from __future__ import annotations

import pytest

from tests.training.evaluation.runs import run_of
from training.evaluation.intervals import accuracy_interval, binomial_interval, macro_f1_interval
from training.evaluation.predictions import predictions_of


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
def test_binomial_interval_is_the_exact_one_of_clopper_and_pearson(
    hits: int, tiles: int, low: float, high: float
) -> None:
    assert binomial_interval(hits, tiles) == pytest.approx((low, high), abs=5e-5)


def test_accuracy_interval_resamples_slides_not_tiles() -> None:
    # 10 slides of 2 tiles, each all correct or all wrong: as much information as 10 tiles.
    together = predictions_of(run_of([(0, 0 if i // 2 % 2 else 1) for i in range(20)]))
    mixed = predictions_of(run_of([(0, 0 if i % 2 else 1) for i in range(20)]))
    low, high = accuracy_interval(together, seed=0)
    assert low == pytest.approx(0.2)
    assert high == pytest.approx(0.8)
    assert accuracy_interval(mixed, seed=0) == (0.5, 0.5)


def test_macro_f1_interval_leaves_out_labels_that_a_resample_lacks() -> None:
    """If all predictions are correct, every label in a resample has an F1 of 1."""
    predictions = predictions_of(run_of([(0, 0), (0, 0), (1, 1), (1, 1), (2, 2), (2, 2)]))
    assert macro_f1_interval(predictions, 0) == (1.0, 1.0)
    wrong = predictions_of(run_of([(0, 1), (0, 1), (1, 0), (1, 0)]))
    assert macro_f1_interval(wrong, 0) == (0.0, 0.0)
