from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.population_stability import bin_edges, bin_of, count_bins, stability_index

counts = st.lists(st.integers(0, 10_000), min_size=1, max_size=12)
pairs = st.integers(1, 12).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 10_000), min_size=n, max_size=n)] * 2)
)
values = st.lists(st.floats(-10, 10), min_size=1, max_size=80)


@given(counts)
def test_index_of_a_histogram_with_itself_is_zero(histogram: list[int]) -> None:
    assert stability_index(histogram, histogram) == 0


@given(pairs)
def test_index_is_finite_never_negative_and_the_same_both_ways(
    pair: tuple[list[int], list[int]],
) -> None:
    now, then = pair
    index = stability_index(now, then)
    assert math.isfinite(index), "empty bins included"
    assert index >= 0
    assert index == pytest.approx(stability_index(then, now), abs=1e-12)


def test_index_is_the_formula() -> None:
    now, then = np.array([30.5, 70.5]) / 101, np.array([50.5, 50.5]) / 101
    expected = ((now - then) * np.log(now / then)).sum()
    assert stability_index([30, 70], [50, 50]) == pytest.approx(expected)


def test_index_is_above_the_convention_when_labels_shift() -> None:
    assert stability_index([34, 33, 33], [30, 34, 36]) < 0.1
    assert stability_index([80, 10, 10], [30, 34, 36]) > 0.25


@given(values, st.integers(1, 10))
def test_every_value_falls_into_one_bin(numbers: list[float], n_bins: int) -> None:
    edges = bin_edges(numbers, n_bins)
    assert list(edges) == sorted(set(edges))
    assert len(edges) < n_bins or n_bins == 1
    histogram = count_bins(numbers, edges)
    assert len(histogram) == len(edges) + 1
    assert histogram.sum() == len(numbers)
    for number in numbers:
        assert histogram[bin_of(number, edges)] > 0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_every_number_has_a_bin(value: float) -> None:
    assert 0 <= bin_of(value, (0.1, 0.2)) <= 2
