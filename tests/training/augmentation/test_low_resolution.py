"""Tiles seen at a lower resolution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.core.tile import decode_tile
from training.augmentation.low_resolution import enlarge, seen_through
from training.augmentation.views import AugmentConfig, draw_views
from training.data.drawn_tiles import draw_tile, encode_tile

TILE = draw_tile("viable_tumor", 224, 0)


def test_draw_views_shows_each_view_at_low_resolution_behind_the_others() -> None:
    config = AugmentConfig(n_views=2, low_resolution_px=56)
    views = draw_views(TILE, config, 1)
    assert (len(views), config.n_full, config.n_shown) == (6, 3, 6)
    for full, low in zip(views[:3], views[3:], strict=True):
        np.testing.assert_array_equal(low, seen_through(full, 56))
    plain = draw_views(TILE, config.model_copy(update={"low_resolution_px": 0}), 1)
    np.testing.assert_array_equal(views[:3], plain)


def test_seen_through_removes_what_a_lower_resolution_cannot_show() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    seen = seen_through(stripes, 16)
    assert seen.shape == (64, 64, 3)
    assert seen.std() < 5 < stripes.std()
    assert abs(float(seen.mean()) - 100) < 3


def test_enlarge_keeps_the_colour() -> None:
    small = np.full((8, 8, 3), (200, 120, 160), np.uint8)
    np.testing.assert_array_equal(enlarge(small, 20), np.full((20, 20, 3), (200, 120, 160)))


@pytest.mark.parametrize("side_px", [224, 320])
def test_seen_through_looks_like_a_thumbnail_of_the_drawn_tile(side_px: int) -> None:
    content = encode_tile(draw_tile("viable_tumor", 1024, 0))
    difference = _difference_from_a_thumbnail(content, side_px)
    assert difference < 3


@pytest.mark.real_tiles
@pytest.mark.parametrize("side_px", [224, 320])
def test_seen_through_looks_like_a_thumbnail_of_a_real_tile(real_dir: Path, side_px: int) -> None:
    """Grey levels of 255: the decoder and the bicubic filter reduce in a different order."""
    files = sorted(real_dir.rglob("*.jpg"))[:5]
    assert max(_difference_from_a_thumbnail(file.read_bytes(), side_px) for file in files) < 3


def _difference_from_a_thumbnail(content: bytes, side_px: int) -> float:
    tile = decode_tile(content, side_px=side_px)
    thumbnail = enlarge(decode_tile(content, side_px=108), side_px)
    seen = seen_through(tile, 108)
    difference = np.abs(seen.astype(int) - thumbnail).mean()
    assert difference < np.abs(tile.astype(int) - thumbnail).mean(), "the tile itself is sharper"
    return float(difference)
