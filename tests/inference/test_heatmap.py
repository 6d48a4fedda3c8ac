from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from app.inference.heatmap import draw_explanation
from training.data.drawn_tiles import draw_tile

GRID = np.zeros((7, 7)).tolist()
GRID[0][0] = 1.0


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


@pytest.mark.parametrize("size_px", [64, 96, 512, 2048])
def test_overlay_is_the_tile_and_a_colour_bar(size_px: int) -> None:
    tile = enlarged_tile("non_tumor", size_px)
    image = opened(draw_explanation(tile, GRID, "overlay", 0.6, "non_viable_tumor"))
    assert (image.mode, image.height) == ("RGB", size_px)
    bar = np.asarray(image)[:, size_px:]
    assert bar.shape[1] > 40
    # The text fits into the picture.
    assert (bar[:, -2:] == 255).all()
    assert (bar[:, :2] == 255).all()
    # The scale runs from light at the top to dark at the bottom.
    scale = bar[:, size_px // 72 + 12].astype(int).sum(axis=1)
    coloured = scale[(bar[:, size_px // 72 + 12] != 255).any(axis=1)]
    assert coloured.max() > 500
    assert coloured[-1] < 60


@pytest.mark.parametrize("opacity", [0.0, 0.3, 1.0])
def test_overlay_shows_the_tile_unchanged_without_evidence(opacity: float) -> None:
    tile = draw_tile("viable_tumor", 224, 0)
    drawn = pixels(draw_explanation(tile, GRID, "overlay", opacity, "viable_tumor"))[:, :224]
    assert np.array_equal(drawn[112:, 112:], tile[112:, 112:])
    is_changed = bool((drawn[:16, :16] != tile[:16, :16]).any())
    assert is_changed == (opacity > 0)


def test_full_opacity_hides_the_tile_at_the_maximum() -> None:
    white, black = (np.full((224, 224, 3), level, np.uint8) for level in (255, 0))
    over_white, over_black = (
        pixels(draw_explanation(tile, GRID, "overlay", 1.0, "viable_tumor"))[0, 0]
        for tile in (white, black)
    )
    assert np.array_equal(over_white, over_black)


@pytest.mark.parametrize("size_px", [64, 512, 2048])
def test_heat_is_transparent_without_evidence(size_px: int) -> None:
    tile = enlarged_tile("viable_tumor", size_px)
    image = opened(draw_explanation(tile, GRID, "heat", 0.5, "viable_tumor"))
    assert (image.mode, image.size) == ("RGBA", (size_px, size_px))
    alpha = np.asarray(image)[..., 3]
    assert alpha[0, 0] == alpha.max() == 128
    assert (alpha[size_px // 2 :, size_px // 2 :] == 0).all()


def test_heat_over_the_tile_is_the_overlay() -> None:
    tile = draw_tile("viable_tumor", 224, 1)
    layer = opened(draw_explanation(tile, GRID, "heat", 0.7, "viable_tumor"))
    laid = Image.alpha_composite(Image.fromarray(tile).convert("RGBA"), layer).convert("RGB")
    overlay = pixels(draw_explanation(tile, GRID, "overlay", 0.7, "viable_tumor"))[:, :224]
    assert np.abs(np.asarray(laid).astype(int) - overlay).max() <= 1


@given(arrays(np.float64, (3, 5), elements=st.floats(0, 1)), st.floats(0, 1))
def test_any_evidence_can_be_drawn(grid: NDArray[np.float64], opacity: float) -> None:
    tile = np.full((64, 64, 3), 200, np.uint8)
    layer = pixels(draw_explanation(tile, grid.tolist(), "heat", opacity, "non_tumor"))
    assert layer[..., 3].max() <= round(255 * opacity)
