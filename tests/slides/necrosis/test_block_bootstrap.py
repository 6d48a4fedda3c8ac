"""Blocks of tiles, and the interval from drawing them anew."""

from __future__ import annotations

import numpy as np
import pytest

from app.slides.necrosis import block_bootstrap
from app.slides.necrosis.block_bootstrap import CountedTiles, bootstrap_ratio, draw_shares


def tiles_at(places: list[tuple[int, int, int]], tile_area_mm2: float = 1.0) -> CountedTiles:
    columns, rows, kinds = np.array(places, np.int64).reshape(-1, 3).T
    return CountedTiles(columns, rows, kinds, tile_area_mm2)


def test_blocks_hold_the_area_of_each_kind() -> None:
    tiles = tiles_at([(0, 0, 1), (7, 7, 2), (7, 0, 1), (8, 0, 0), (0, 8, 2)], tile_area_mm2=2.0)
    assert tiles.blocks().tolist() == [[0, 4, 2], [2, 0, 0], [0, 0, 2]]


def test_blocks_of_nothing_are_none() -> None:
    assert tiles_at([]).blocks().shape == (0, 3)


def test_interval_needs_two_blocks() -> None:
    found = bootstrap_ratio([np.array([[5.0, 3, 1], [9, 0, 0]])])
    assert (found.low, found.high, found.n_blocks) == (0, 1, 1)


def test_interval_has_a_width_if_all_tumour_is_dead() -> None:
    few, many = (bootstrap_ratio([np.tile([0.0, 9, 0], (n, 1))]) for n in (12, 120))
    assert few.low < many.low < 1
    assert (few.high, many.high) == (1, 1)


def test_interval_is_narrower_with_more_blocks() -> None:
    generator = np.random.default_rng(0)
    blocks = generator.integers(0, 9, (240, 3)).astype(float)
    few, many = bootstrap_ratio([blocks[:24]]), bootstrap_ratio([blocks])
    assert many.high - many.low < 0.5 * (few.high - few.low)


def test_slides_are_strata() -> None:
    """Two slides that differ much, but not within: drawing over both would mix their shares."""
    dead, alive = np.tile([0.0, 9, 1], (60, 1)), np.tile([0.0, 1, 9], (60, 1))
    apart = bootstrap_ratio([dead, alive])
    mixed = bootstrap_ratio([np.concatenate([dead, alive])])
    assert apart.high - apart.low < 0.5 * (mixed.high - mixed.low)
    assert draw_shares([dead, alive]).std(axis=0).max() == pytest.approx(0)


def test_small_slides_are_drawn_together() -> None:
    """Each has one block, so that alone it would always be drawn as it is."""
    slides = [np.array([[0.0, n, 9 - n]]) for n in range(10)]
    assert bootstrap_ratio(slides) == bootstrap_ratio([np.concatenate(slides)])


def test_draws_are_the_same_each_time() -> None:
    blocks = np.random.default_rng(0).integers(0, 9, (20, 3)).astype(float)
    assert bootstrap_ratio([blocks]) == bootstrap_ratio([blocks])
    assert (draw_shares([blocks]) == draw_shares([blocks])).all()


def test_few_blocks_widen_the_tails() -> None:
    from scipy.stats import norm, t  # takes seconds, which every process would spend

    expected = norm.cdf(-np.sqrt(16 / 15) * t.ppf(0.975, 15))
    assert block_bootstrap._expanded_tail(15, 16) == pytest.approx(expected, rel=0.01)
    assert block_bootstrap._expanded_tail(9999, 10000) == pytest.approx(0.025, rel=0.01)


@pytest.mark.parametrize("n_free", [3, 5, 15, 200])
def test_student_quantile_is_that_of_scipy(n_free: int) -> None:
    from scipy.stats import t

    found = block_bootstrap._student_quantile(0.975, n_free)
    assert found == pytest.approx(t.ppf(0.975, n_free), rel=0.01)
