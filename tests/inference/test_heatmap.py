from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from app.inference.heatmap import draw_heat, draw_overlay
from training.data.drawn_tiles import draw_tile

GRID = np.zeros((7, 7)).tolist()
GRID[0][0] = 1.0
TISSUE = np.full((224, 224, 3), (180, 110, 150), np.uint8)


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    assert image.format == "PNG"
    return image


def pixels(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(opened(content))


def enlarged_tile(label: str, size_px: int) -> NDArray[np.uint8]:
    """A tile of a multiple of 32 pixels; drawing one of 2048 pixels takes a second."""
    return draw_tile(label, 32, 0).repeat(size_px // 32, axis=0).repeat(size_px // 32, axis=1)


def drawn_overlay(tile: NDArray[np.uint8], opacity: float, **options: bool) -> Image.Image:
    return opened(draw_overlay(tile, GRID, opacity, "viable_tumor", **options))


@pytest.mark.parametrize("size_px", [64, 96, 512, 2048])
def test_overlay_is_in_the_corner_of_a_margin(size_px: int) -> None:
    image = drawn_overlay(enlarged_tile("non_tumor", size_px), 0.6)
    assert image.mode == "RGB"
    assert (image.width > size_px + 40, image.height > size_px + 12) == (True, True)


@pytest.mark.parametrize("opacity", [0.0, 0.3, 1.0])
def test_overlay_shows_the_tile_unchanged_without_evidence(opacity: float) -> None:
    tile = draw_tile("viable_tumor", 224, 0)
    drawn = np.asarray(drawn_overlay(tile, opacity))[:224, :224]
    assert np.array_equal(drawn[112:, 112:], tile[112:, 112:])
    is_changed = bool((drawn[:16, :16] != tile[:16, :16]).any())
    assert is_changed == (opacity > 0)


@pytest.mark.parametrize("size_px", [64, 224, 512])
def test_plain_tile_is_beside_the_overlay(size_px: int) -> None:
    tile = enlarged_tile("viable_tumor", size_px)
    overlay = np.asarray(drawn_overlay(tile, 0.6))
    both = np.asarray(drawn_overlay(tile, 0.6, beside=True))
    assert np.array_equal(both[:size_px, :size_px], tile)
    right = both.shape[1] - overlay.shape[1]
    assert right > size_px
    assert np.array_equal(both[:size_px, right:], overlay[:size_px])  # with the same colour bar


def test_full_opacity_hides_the_tile_at_the_maximum() -> None:
    pale, black = (np.full((224, 224, 3), level, np.uint8) for level in (200, 0))
    over_pale, over_black = (np.asarray(drawn_overlay(tile, 1.0))[0, 0] for tile in (pale, black))
    assert np.array_equal(over_pale, over_black)


@pytest.mark.parametrize("size_px", [64, 512, 2048])
def test_heat_is_transparent_without_evidence(size_px: int) -> None:
    image = opened(draw_heat(TISSUE, GRID, size_px, 0.5))
    assert (image.mode, image.size) == ("RGBA", (size_px, size_px))
    alpha = np.asarray(image)[..., 3]
    assert alpha[0, 0] == alpha.max() == 128
    assert (alpha[size_px // 2 :, size_px // 2 :] == 0).all()


def test_glass_is_transparent_whatever_the_evidence() -> None:
    tile = TISSUE.copy()
    tile[:, 80:160] = (244, 242, 246)
    everywhere = np.ones((7, 7)).tolist()
    alpha = pixels(draw_heat(tile, everywhere, 512, 0.5))[..., 3]
    left, right = 80 * 512 // 224, 160 * 512 // 224
    assert (alpha[:, left + 3 : right - 3] == 0).all()
    assert (alpha[:, : left - 3] == 128).all()
    overlay = pixels(draw_overlay(tile, everywhere, 0.5, "viable_tumor"))[:224, :224]
    assert np.array_equal(overlay[:, 82:158], tile[:, 82:158])
    assert (overlay[:, :78] != tile[:, :78]).any(axis=2).all()


def test_tile_of_glass_is_drawn_unchanged() -> None:
    tile = np.full((96, 96, 3), 250, np.uint8)
    assert np.array_equal(np.asarray(drawn_overlay(tile, 1.0))[:96, :96], tile)


def test_colour_bar_is_drawn_over_the_mean_tissue() -> None:
    tile = TISSUE.copy()
    tile[:, 112:] = 255
    drawn = np.asarray(drawn_overlay(tile, 0.6))
    bar = drawn[32:224, 224 + 6 + 12].astype(int)
    # The upper end looks like the map at its maximum, the lower end like tissue without evidence.
    for colour in (drawn[0, 0], TISSUE[0, 0]):
        assert np.abs(bar - colour).max(axis=1).min() <= 2


def test_heat_over_the_tile_is_the_overlay() -> None:
    tile = draw_tile("viable_tumor", 224, 1)
    layer = opened(draw_heat(tile, GRID, 224, 0.7))
    laid = Image.alpha_composite(Image.fromarray(tile).convert("RGBA"), layer).convert("RGB")
    overlay = np.asarray(drawn_overlay(tile, 0.7))[:224, :224]
    assert np.abs(np.asarray(laid).astype(int) - overlay).max() <= 1


@given(arrays(np.float64, (3, 5), elements=st.floats(0, 1)), st.floats(0, 1))
def test_any_evidence_can_be_drawn(grid: NDArray[np.float64], opacity: float) -> None:
    layer = pixels(draw_heat(TISSUE[:64, :64], grid.tolist(), 64, opacity))
    assert layer[..., 3].max() <= round(255 * opacity)
