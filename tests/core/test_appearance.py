from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from app.core.appearance import Appearance, find_tissue, glass_by_cell, measure_appearance
from training.data.drawn_tiles import draw_tile

LABEL_IDS = ("non_tumor", "non_viable_tumor", "viable_tumor")
tiles = arrays(np.uint8, st.just((24, 24, 3)))
colours = st.tuples(*[st.integers(0, 255)] * 3)


def plain(colour: tuple[int, ...], side_px: int = 64) -> NDArray[np.uint8]:
    return np.full((side_px, side_px, 3), colour, np.uint8)


def require_ranges(appearance: Appearance) -> None:
    assert 0 <= appearance.tissue_share <= 1
    assert 0 <= appearance.contrast <= 127.5
    assert 0 <= appearance.sharpness <= 4 * 255
    assert 0 <= appearance.stain_share <= 1
    assert sum(appearance.absorption) == pytest.approx(1, abs=1e-5)
    assert all(0 <= share <= 1 for share in appearance.absorption)


@given(tiles)
def test_measurements_of_any_tile_are_in_range(tile: NDArray[np.uint8]) -> None:
    require_ranges(measure_appearance(tile))


@given(colours)
def test_measurements_of_one_colour_are_in_range(colour: tuple[int, int, int]) -> None:
    appearance = measure_appearance(plain(colour))
    require_ranges(appearance)
    assert (appearance.contrast, appearance.sharpness) == (0, 0)
    assert appearance.tissue_share in {0, 1}
    assert appearance.stain_share in {0, 1}


@given(st.integers(0, 255))
def test_grey_is_not_a_stain(level: int) -> None:
    rng = np.random.default_rng(level)
    noise = rng.integers(0, level + 1, (64, 64, 1), dtype=np.uint8).repeat(3, axis=2)
    for tile in (plain((level, level, level)), noise):
        appearance = measure_appearance(tile)
        assert appearance.stain_share == 0
        assert appearance.absorption == pytest.approx((1 / 3,) * 3, abs=1e-6)


@pytest.mark.parametrize("label_id", LABEL_IDS)
def test_drawn_tissue_is_stained_tissue(label_id: str) -> None:
    for seed in range(3):
        appearance = measure_appearance(draw_tile(label_id, 224, seed))
        assert appearance.stain_share > 0.95
        assert appearance.tissue_share > 0.3
        red, green, blue = appearance.absorption
        assert green > max(red, blue), "haematoxylin and eosin absorb green most"


@pytest.mark.parametrize(
    "colour", [(90, 160, 90), (60, 90, 200), (200, 160, 60), (30, 200, 220), (150, 110, 70)]
)
def test_other_colours_are_not_a_stain(colour: tuple[int, int, int]) -> None:
    assert measure_appearance(plain(colour)).stain_share == 0


def test_glass_is_not_tissue() -> None:
    appearance = measure_appearance(plain((245, 243, 246)))
    assert (appearance.tissue_share, appearance.stain_share) == (0, 0)


@pytest.mark.parametrize("label_id", LABEL_IDS)
def test_blurred_tile_is_less_sharp(label_id: str) -> None:
    tile = Image.fromarray(draw_tile(label_id, 224, 0))
    blurred = [tile, *(tile.filter(ImageFilter.GaussianBlur(radius)) for radius in (1, 2, 4))]
    sharp, *softer = (measure_appearance(np.asarray(image)).sharpness for image in blurred)
    assert softer == sorted(softer, reverse=True)
    assert max(softer) < sharp / 2


def test_sharpness_is_the_deviation_of_the_laplacian() -> None:
    tile = draw_tile("viable_tumor", 64, 1)
    green = tile[..., 1].astype(np.float64)
    laplacian = (
        4 * green[1:-1, 1:-1]
        - green[:-2, 1:-1]
        - green[2:, 1:-1]
        - green[1:-1, :-2]
        - green[1:-1, 2:]
    )
    assert measure_appearance(tile).sharpness == pytest.approx(laplacian.std(), rel=1e-5)


@given(tiles)
def test_tissue_is_found_where_the_tissue_share_counts_it(tile: NDArray[np.uint8]) -> None:
    counted = find_tissue(tile)[::4, ::4].mean()
    assert measure_appearance(tile).tissue_share == pytest.approx(counted)


def test_glass_of_cells_is_their_share_of_white_pixels() -> None:
    tile = plain((200, 120, 170), 64)
    tile[:16] = 255  # the upper half of the upper cells
    tile[32:, 32:] = (240, 238, 242)  # glass is not quite white
    assert glass_by_cell(tile, (2, 2)) == pytest.approx(np.array([[0.5, 0.5], [0.0, 1.0]]))


@pytest.mark.parametrize("shape", [(7, 7), (10, 10), (3, 5), (1, 1), (224, 224)])
def test_glass_of_any_grid_has_the_mean_of_the_tile(shape: tuple[int, int]) -> None:
    tile = plain((200, 120, 170), 224)
    tile[:56] = 255
    glass = glass_by_cell(tile, shape)
    assert glass.shape == shape
    assert glass.mean() == pytest.approx(0.25, abs=0.01)
    assert (glass.min() >= 0, glass.max() <= 1) == (True, True)
