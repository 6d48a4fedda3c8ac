"""The reference for texture: pairs counted by hand, formulas written out, the real table."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from app.core.tile import decode_tile
from training.data.drawn_tiles import draw_tile
from training.features.haralick import (
    cooccurrences,
    grey_levels,
    haematoxylin_amounts,
    haralick_measures,
    without_faint,
)
from training.networks.texture_definition import (
    MEASURES,
    N_LEVELS,
    PREPARATIONS,
    STEPS,
    TABLE_COLUMNS,
    Preparation,
    offset_px,
)

HARALICKS_EXAMPLE: Final = np.array(
    [[0, 0, 1, 1], [0, 0, 1, 1], [0, 2, 2, 2], [2, 2, 3, 3]], dtype=np.uint8
)

# One tile of each preparation. The values are the columns of directions 0 and 135 in the feature
# table of doi:10.7937/tcia.2019.bvhjhdas (CC BY 3.0), in the order of MEASURES.
TABLE_ROWS: Final[tuple[tuple[str, Preparation, dict[str, str]], ...]] = (
    (
        "Training-Set-1/set1/Case-48-P5-C20-51615-14123.jpg",
        "plain",
        {
            "0": "0.123578545 0.64552216 0.914922858 3.78983691 0.818111786 7.995372567 "
            "14.52910904 2.252884306 2.665782274 0.478808023 0.834692037 -0.475804476 0.900404847",
            "135": "0.114325305 0.844142738 0.888582549 3.796833622 0.786181819 8.001777559 "
            "14.30649188 2.26554496 2.768013588 0.60124166 0.932580032 -0.417041502 0.876105832",
        },
    ),
    (
        "Training-Set-2/set1/P9-B28-8403-19923.jpg",
        "thresholded",
        {
            "0": "0.363356937 1.558722874 0.881064963 6.555914627 0.873587087 5.85214882 "
            "24.65258508 1.611506638 1.844488439 1.374644299 0.743981125 -0.497150312 0.839614563",
            "135": "0.353422235 2.034106487 0.844902148 6.555351628 0.855007871 5.856388995 "
            "24.19583705 1.64412498 1.907534116 1.763600046 0.82484394 -0.446473702 0.816170481",
        },
    ),
)


def measures_by_formula(pairs: NDArray[np.int32]) -> dict[str, float]:
    """The formulas of Haralick et al. 1973, sum by sum, on one matrix of counts."""
    p = pairs / pairs.sum()
    levels = range(1, N_LEVELS + 1)
    cells = [(i, j, p[i - 1, j - 1]) for i, j in itertools.product(levels, levels)]
    p_x, p_y = ({i: p.sum(axis=axis)[i - 1] for i in levels} for axis in (1, 0))
    p_sum, p_difference = dict.fromkeys(range(2, 17), 0.0), dict.fromkeys(range(8), 0.0)
    for i, j, share in cells:
        p_sum[i + j] += share
        p_difference[abs(i - j)] += share

    def mean(of: dict[int, float]) -> float:
        return sum(value * share for value, share in of.items())

    def variance(of: dict[int, float]) -> float:
        return sum((value - mean(of)) ** 2 * share for value, share in of.items())

    def entropy(shares: list[float]) -> float:
        return -sum(share * math.log(share) for share in shares if share > 0)

    h_x, h_y, h_xy = (entropy(list(of)) for of in (p_x.values(), p_y.values(), p.ravel()))
    h_xy1 = -sum(share * math.log(p_x[i] * p_y[j]) for i, j, share in cells if share > 0)
    products = [p_x[i] * p_y[j] for i, j, _ in cells]
    covariance = sum(i * j * share for i, j, share in cells) - mean(p_x) * mean(p_y)
    return {
        "AngularSecondMoment": sum(share**2 for _, _, share in cells),
        "Contrast": sum((i - j) ** 2 * share for i, j, share in cells),
        "Correlation": covariance / math.sqrt(variance(p_x) * variance(p_y)),
        "Variance": variance(p_x),
        "InverseDifferenceMoment": sum(share / (1 + (i - j) ** 2) for i, j, share in cells),
        "SumAverage": mean(p_sum),
        "SumVariance": variance(p_sum),
        "SumEntropy": entropy(list(p_sum.values())),
        "Entropy": h_xy,
        "DifferenceVariance": variance(p_difference),
        "DifferenceEntropy": entropy(list(p_difference.values())),
        "InfoMeas1": (h_xy - h_xy1) / max(h_x, h_y),
        "InfoMeas2": math.sqrt(1 - math.exp(-2 * (entropy(products) - h_xy))),
    }


def test_cooccurrences_counts_ordered_pairs_of_haralicks_example() -> None:
    to_the_right = cooccurrences(HARALICKS_EXAMPLE, offset=1)[0]
    assert to_the_right[:4, :4].tolist() == [[2, 2, 1, 0], [0, 2, 0, 0], [0, 0, 3, 1], [0, 0, 0, 1]]
    assert to_the_right.sum() == 12


@pytest.mark.parametrize("offset", [1, 3])
def test_cooccurrences_looks_along_the_steps_of_each_direction(offset: int) -> None:
    levels = np.random.default_rng(0).integers(0, N_LEVELS, (9, 12), dtype=np.uint8)
    expected = np.zeros((4, N_LEVELS, N_LEVELS), dtype=np.int32)
    for (row, column), level in np.ndenumerate(levels):
        for direction, (down, right) in enumerate(STEPS.values()):
            other = (row + down * offset, column + right * offset)
            if other[0] < 9 and 0 <= other[1] < 12:
                expected[direction, level, levels[other]] += 1
    np.testing.assert_array_equal(cooccurrences(levels, offset), expected)


def test_haralick_measures_follow_the_published_formulas() -> None:
    tile = draw_tile("viable_tumor", 96, seed=3)
    pairs = cooccurrences(grey_levels(haematoxylin_amounts(tile)), offset=2)
    found = dict(zip(TABLE_COLUMNS, haralick_measures(tile, offset=2), strict=True))
    for direction, matrix in zip(STEPS, pairs, strict=True):
        for measure, expected in measures_by_formula(matrix).items():
            assert found[f"Texture_{measure}_3_{direction}"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.real_tiles
@pytest.mark.parametrize(("file", "preparation", "row"), TABLE_ROWS)
def test_haralick_measures_are_those_of_the_collections_table(
    real_dir: Path, file: str, preparation: Preparation, row: dict[str, str]
) -> None:
    tile = decode_tile((real_dir / file).read_bytes(), side_px=1024)
    found = dict(zip(TABLE_COLUMNS, haralick_measures(tile, preparation), strict=True))
    for direction, values in row.items():
        expected = [float(value) for value in values.split()]
        of_direction = [found[f"Texture_{measure}_3_{direction}"] for measure in MEASURES]
        np.testing.assert_allclose(of_direction, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("preparation", PREPARATIONS)
@pytest.mark.parametrize("value", [0, 128, 255])
def test_haralick_measures_are_defined_when_the_tile_has_one_colour(
    value: int, preparation: Preparation
) -> None:
    tile = np.full((32, 32, 3), value, dtype=np.uint8)
    found = haralick_measures(tile, preparation).reshape(len(MEASURES), len(STEPS))
    defined = {"AngularSecondMoment": 1.0, "InverseDifferenceMoment": 1.0, "SumAverage": 2.0}
    for measure, values in zip(MEASURES, found, strict=True):
        np.testing.assert_allclose(values, defined.get(measure, 0.0), atol=1e-12)


def test_haematoxylin_amounts_of_white_and_black_are_the_ends_of_the_range() -> None:
    tile = np.array([[[255, 255, 255], [0, 0, 0]]], dtype=np.uint8)
    np.testing.assert_allclose(haematoxylin_amounts(tile), [[0.0, 1.0]], atol=0.003)


def test_grey_levels_divide_the_tiles_own_range() -> None:
    amounts = np.array([[0.2, 0.29, 0.31, 0.4, 0.59, 0.99, 1.0]])
    assert grey_levels(amounts).tolist() == [[0, 0, 1, 2, 3, 7, 7]]


def test_without_faint_removes_the_lower_of_two_groups() -> None:
    rng = np.random.default_rng(0)
    faint, strong = rng.normal(0.2, 0.03, (100, 100)), rng.normal(0.8, 0.03, (100, 100))
    kept = without_faint(np.concatenate([faint, strong]).clip(0, 1))
    np.testing.assert_array_equal(kept[100:], strong)
    assert (kept[:100] > 0).mean() < 0.005  # those in the bin of the threshold itself stay


@pytest.mark.parametrize(
    ("side_px", "expected"), [(1024, 3), (512, 2), (448, 1), (224, 1), (64, 1)]
)
def test_offset_px_is_the_nearest_to_that_of_the_table(side_px: int, expected: int) -> None:
    assert offset_px(side_px) == expected
