from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.reliability.fakes import CAM_SIDE, looking
from training.reliability.cam_deletion import DELETED_SHARE, measure_deletion

SIDE_PX = 56
PLACE_PX = SIDE_PX // CAM_SIDE
N_DELETED = round(DELETED_SHARE * CAM_SIDE**2)
# The model looks at three of 49 places.
DECIDES = (slice(2 * PLACE_PX, 3 * PLACE_PX), slice(0, 3 * PLACE_PX))
PLACES = np.zeros((CAM_SIDE, CAM_SIDE))
PLACES[2, :3] = 1.0


def darkness_there(tile: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sure of the first label by how dark the deciding places are."""
    return np.array([(255.0 - tile[DECIDES].mean()) / 32, 0.0, 0.0])


def dark_tile() -> NDArray[np.uint8]:
    tile = np.full((SIDE_PX, SIDE_PX, 3), 230, np.uint8)
    tile[DECIDES] = 30
    return tile


def test_map_that_points_at_what_decides_loses_most() -> None:
    tiles = [dark_tile()] * 4
    found = measure_deletion(looking(darkness_there, PLACES), tiles)
    assert found.n_tiles == 4
    assert found.lost_by_map > 0.3
    assert found.lost_by_map > found.lost_by_chance
    assert found.lost_by_map > found.lost_by_shape
    assert found.map_beats_shape == 1.0


def test_map_that_points_elsewhere_loses_nothing() -> None:
    elsewhere = np.zeros((CAM_SIDE, CAM_SIDE))
    elsewhere[5:, :5] = 1.0  # ten places
    found = measure_deletion(looking(darkness_there, elsewhere), [dark_tile()] * 4)
    assert found.lost_by_map == 0.0
    assert found.lost_by_chance > 0.0
    assert found.map_beats_shape == 0.0


def test_a_fifth_is_greyed_in_the_tiles_own_colour() -> None:
    seen: list[NDArray[np.float64]] = []

    def remember(tile: NDArray[np.float64]) -> NDArray[np.float64]:
        seen.append(tile)
        return np.array([1.0, 0.0, 0.0])

    tile = np.random.default_rng(0).integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    measure_deletion(looking(remember, PLACES), [tile])
    mean = tile.mean(axis=(0, 1)).round()
    original, *greyed = seen[1:]
    np.testing.assert_array_equal(original, tile)
    assert len(greyed) == 11, "the map, five times chance, five times its shape elsewhere"
    for one in greyed:
        is_changed = (one != tile).any(axis=-1)
        np.testing.assert_array_equal(one[is_changed], np.tile(mean, (is_changed.sum(), 1)))
        share = is_changed.mean()
        assert share == pytest.approx(N_DELETED / CAM_SIDE**2, abs=1e-3)
    first = (greyed[0] != tile).any(axis=-1)
    assert first[DECIDES].mean() > 0.99
    assert all((one != greyed[0]).any() for one in greyed[1:]), "the shape is never in its place"


def test_seed_decides_the_random_places() -> None:
    model, tiles = looking(darkness_there, PLACES), [dark_tile()]
    first, again = (measure_deletion(model, tiles, seed=3) for _ in range(2))
    assert first == again
