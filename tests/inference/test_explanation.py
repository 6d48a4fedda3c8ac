from __future__ import annotations

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from app.inference.explanation import draw_explanation, explain_map
from training.data.drawn_tiles import draw_tile

CORNER = np.zeros((7, 7), np.float32)
CORNER[0, 0] = 2.5
GRID = explain_map("viable_tumor", CORNER, None).grid or []

maps = arrays(np.float32, (7, 7), elements=st.floats(-1e6, 1e6, width=32))


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    assert image.format == "PNG"
    return image


def pixels(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(opened(content))


@given(maps)
def test_evidence_is_the_positive_part_as_a_share_of_the_highest(cam: NDArray[np.float32]) -> None:
    said = explain_map("viable_tumor", cam, None)
    if cam.max() <= 0:
        assert (said.status, said.grid, said.max_logit) == ("unavailable", None, None)
        assert said.reason == "nothing in the tile speaks for viable_tumor"
        return
    assert (said.status, said.reason) == ("available", None)
    assert said.max_logit == pytest.approx(cam.max(), rel=1e-6, abs=5e-5)
    grid = np.array(said.grid)
    assert grid.max() == 1
    assert np.allclose(grid, np.maximum(cam, 0) / cam.max(), atol=6e-5)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf, -np.inf])
def test_map_that_carries_nothing_is_unavailable(value: float) -> None:
    said = explain_map("non_tumor", np.full((7, 7), value, np.float32), None)
    assert (said.status, said.label, said.grid) == ("unavailable", "non_tumor", None)
    assert said.reason


def test_one_cell_that_is_no_number_spoils_a_map() -> None:
    cam = CORNER.copy()
    cam[3, 3] = np.nan
    assert explain_map("non_tumor", cam, None).status == "unavailable"


def test_obstacle_is_the_reason() -> None:
    said = explain_map("non_tumor", CORNER, "it is a photograph")
    assert (said.status, said.grid, said.reason) == ("unavailable", None, "it is a photograph")


def test_numbers_are_as_short_in_json_as_they_are_rounded() -> None:
    cam = np.array([[1.0, 0.1234], [0.3333, 0.0]], np.float32)
    document = json.loads(explain_map("non_tumor", cam, None).model_dump_json())
    assert document["grid"] == [[1.0, 0.1234], [0.3333, 0.0]]


@pytest.mark.parametrize("size_px", [64, 96, 512, 2048])
def test_overlay_is_the_tile_and_a_colour_bar(size_px: int) -> None:
    tile = draw_tile("non_tumor", size_px, 0)
    image = opened(draw_explanation(tile, GRID, "overlay", 0.6, "non_viable_tumor"))
    assert (image.mode, image.height) == ("RGB", size_px)
    bar = np.asarray(image)[:, size_px:]
    assert bar.shape[1] > 40
    # The words end before the picture does.
    assert (bar[:, -2:] == 255).all()
    assert (bar[:, :2] == 255).all()
    # The scale is there, from light at the top to dark at the bottom.
    scale = bar[:, size_px // 72 + 12].astype(int).sum(axis=1)
    coloured = scale[(bar[:, size_px // 72 + 12] != 255).any(axis=1)]
    assert coloured.max() > 500
    assert coloured[-1] < 60


@pytest.mark.parametrize("opacity", [0.0, 0.3, 1.0])
def test_pixels_without_evidence_stay_the_tiles(opacity: float) -> None:
    tile = draw_tile("viable_tumor", 224, 0)
    drawn = pixels(draw_explanation(tile, GRID, "overlay", opacity, "viable_tumor"))[:, :224]
    assert np.array_equal(drawn[112:, 112:], tile[112:, 112:])
    is_changed = bool((drawn[:16, :16] != tile[:16, :16]).any())
    assert is_changed == (opacity > 0)


def test_full_opacity_hides_the_tile_where_evidence_is_highest() -> None:
    white, black = (np.full((224, 224, 3), level, np.uint8) for level in (255, 0))
    over_white, over_black = (
        pixels(draw_explanation(tile, GRID, "overlay", 1.0, "viable_tumor"))[0, 0]
        for tile in (white, black)
    )
    assert np.array_equal(over_white, over_black)


@pytest.mark.parametrize("size_px", [64, 512, 2048])
def test_heat_layer_is_transparent_without_evidence(size_px: int) -> None:
    tile = draw_tile("viable_tumor", size_px, 0)
    image = opened(draw_explanation(tile, GRID, "heat", 0.5, "viable_tumor"))
    assert (image.mode, image.size) == ("RGBA", (size_px, size_px))
    alpha = np.asarray(image)[..., 3]
    assert alpha[0, 0] == alpha.max() == 128
    assert (alpha[size_px // 2 :, size_px // 2 :] == 0).all()


def test_heat_layer_over_the_tile_is_the_overlay() -> None:
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
