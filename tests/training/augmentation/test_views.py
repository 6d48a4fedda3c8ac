from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.augmentation.views import AugmentConfig, draw_views, transform_tile
from training.data.drawn_tiles import draw_tile

TILE = draw_tile("viable_tumor", 64, 0)


def test_draw_views_keeps_the_original_first() -> None:
    views = draw_views(TILE, AugmentConfig(n_views=3), seed=5)
    assert views.shape == (4, 64, 64, 3)
    assert views.dtype == np.uint8
    np.testing.assert_array_equal(views[0], TILE)
    assert all((view != TILE).any() for view in views[1:])


def test_draw_views_is_reproducible_and_varies_with_the_seed() -> None:
    config = AugmentConfig(n_views=2)
    np.testing.assert_array_equal(draw_views(TILE, config, 5), draw_views(TILE, config, 5))
    assert (draw_views(TILE, config, 5)[1:] != draw_views(TILE, config, (5, 1))[1:]).any()


def test_draw_views_flips_about_half_of_the_views() -> None:
    config = AugmentConfig(n_views=40, rotation_degrees=0, zoom=0)
    flipped = [bool((view == TILE[:, ::-1]).all()) for view in draw_views(TILE, config, 0)[1:]]
    assert 8 < sum(flipped) < 32


def test_draw_views_shows_all_eight_symmetries_and_no_blur() -> None:
    config = AugmentConfig(
        n_views=120, rotation_degrees=0, zoom=0, horizontal_flip=False, symmetries=True
    )
    turned = [np.rot90(TILE, quarters) for quarters in range(4)]
    expected = {view.tobytes() for tile in turned for view in (tile, tile[:, ::-1])}
    assert {view.tobytes() for view in draw_views(TILE, config, 0)[1:]} == expected


def test_draw_views_jitters_the_stain_of_transformed_views_only() -> None:
    plain = AugmentConfig(n_views=3)
    jittered = plain.model_copy(update={"stain_scale": 0.2, "stain_shift": 0.05})
    one, other = draw_views(TILE, plain, 0), draw_views(TILE, jittered, 0)
    np.testing.assert_array_equal(one[0], other[0])
    assert all((a != b).any() for a, b in zip(one[1:], other[1:], strict=True))


def test_transform_tile_changes_nothing_when_the_angle_is_0_and_the_magnification_1() -> None:
    np.testing.assert_array_equal(transform_tile(TILE, 0.0, 1.0), TILE)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_transform_tile_turns_counter_clockwise(quarters: int) -> None:
    turned = transform_tile(TILE, quarters * math.pi / 2, 1.0).astype(int)
    assert np.abs(turned - np.rot90(TILE, quarters)).max() <= 1


def test_transform_tile_magnifies_the_centre() -> None:
    tile = np.zeros((64, 64, 3), dtype=np.uint8)
    tile[24:40, 24:40] = 255
    assert (transform_tile(tile, 0.0, 2.0) > 127).all(axis=2).sum() == 32 * 32
    centre = transform_tile(tile, 0.0, 0.5)[16:48, 16:48]  # mirror images surround it
    assert (centre > 127).all(axis=2).sum() == 8 * 8


@settings(max_examples=40, deadline=None)
@given(angle=st.floats(-math.pi, math.pi), magnification=st.floats(0.6, 2.0))
def test_transform_tile_leaves_no_empty_corner(angle: float, magnification: float) -> None:
    bright = np.full((48, 48, 3), 200, dtype=np.uint8)
    assert (transform_tile(bright, angle, magnification) == 200).all()


@pytest.mark.parametrize(
    ("zoom", "least", "most"), [(0.2, 0.8, 1.2), (0.5, 0.5, 1.5), (1.0, 0.5, 2.0), (1.5, 0.5, 2.5)]
)
def test_draw_views_zooms_as_in_the_seed_paper_but_never_below_a_half(
    zoom: float, least: float, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[float] = []

    def remember(tile: np.ndarray, _: float, magnification: float) -> np.ndarray:
        drawn.append(magnification)
        return tile

    monkeypatch.setattr("training.augmentation.views.transform_tile", remember)
    draw_views(TILE, AugmentConfig(n_views=400, zoom=zoom), 0)
    assert least <= min(drawn) < least + 0.05
    assert most - 0.05 < max(drawn) <= most
