from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.reliability.fakes import CAM_SIDE, fake_predictor
from training.reliability.cam_deletion import DELETED_SHARE, measure_deletion

SIDE_PX = 56
CELL_PX = SIDE_PX // CAM_SIDE
N_DELETED = round(DELETED_SHARE * CAM_SIDE**2)
# The prediction depends on three of 49 cells.
DECISIVE = (slice(2 * CELL_PX, 3 * CELL_PX), slice(0, 3 * CELL_PX))
CAM = np.zeros((CAM_SIDE, CAM_SIDE))
CAM[2, :3] = 1.0


def darkness_of_decisive_cells(tile: NDArray[np.float64]) -> NDArray[np.float64]:
    """The darker the decisive cells, the higher the logit of the first label."""
    return np.array([(255.0 - tile[DECISIVE].mean()) / 32, 0.0, 0.0])


def dark_tile() -> NDArray[np.uint8]:
    tile = np.full((SIDE_PX, SIDE_PX, 3), 230, np.uint8)
    tile[DECISIVE] = 30
    return tile


def test_measure_deletion_loses_most_by_a_map_of_the_decisive_cells() -> None:
    tiles = [dark_tile()] * 4
    found = measure_deletion(fake_predictor(darkness_of_decisive_cells, CAM), tiles)
    assert found.n_tiles == 4
    assert found.lost_by_map > 0.3
    assert found.lost_by_map > found.lost_by_chance
    assert found.lost_by_map > found.lost_by_shape
    assert found.map_beats_shape == 1.0


def test_measure_deletion_loses_nothing_by_a_map_of_other_cells() -> None:
    elsewhere = np.zeros((CAM_SIDE, CAM_SIDE))
    elsewhere[5:, :5] = 1.0  # ten cells
    found = measure_deletion(
        fake_predictor(darkness_of_decisive_cells, elsewhere), [dark_tile()] * 4
    )
    assert found.lost_by_map == 0.0
    assert found.lost_by_chance > 0.0
    assert found.map_beats_shape == 0.0


def test_measure_deletion_replaces_a_fifth_with_the_mean_colour() -> None:
    seen: list[NDArray[np.float64]] = []

    def remember(tile: NDArray[np.float64]) -> NDArray[np.float64]:
        seen.append(tile)
        return np.array([1.0, 0.0, 0.0])

    tile = np.random.default_rng(0).integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    measure_deletion(fake_predictor(remember, CAM), [tile])
    mean = tile.mean(axis=(0, 1)).round()
    original, *deleted = seen[1:]
    np.testing.assert_array_equal(original, tile)
    assert len(deleted) == 11, "the map, five random maps, five shifted maps"
    for one in deleted:
        is_changed = (one != tile).any(axis=-1)
        np.testing.assert_array_equal(one[is_changed], np.tile(mean, (is_changed.sum(), 1)))
        share = is_changed.mean()
        assert share == pytest.approx(N_DELETED / CAM_SIDE**2, abs=1e-3)
    first = (deleted[0] != tile).any(axis=-1)
    assert first[DECISIVE].mean() > 0.99
    assert all((one != deleted[0]).any() for one in deleted[1:]), (
        "a shifted map never covers its old cells"
    )


def test_measure_deletion_is_reproducible_with_a_seed() -> None:
    model, tiles = fake_predictor(darkness_of_decisive_cells, CAM), [dark_tile()]
    first, again = (measure_deletion(model, tiles, seed=3) for _ in range(2))
    assert first == again
