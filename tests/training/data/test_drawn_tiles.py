from __future__ import annotations

import numpy as np
import pytest

from app.core.tile import decode_tile
from training.data.drawn_tiles import draw_tile, encode_tile
from training.data.labels import LABEL_IDS


@pytest.mark.parametrize("label_id", LABEL_IDS)
def test_draw_tile_is_reproducible_and_varies_with_the_seed(label_id: str) -> None:
    tile = draw_tile(label_id, 96, 7)
    assert tile.shape == (96, 96, 3)
    assert tile.dtype == np.uint8
    np.testing.assert_array_equal(tile, draw_tile(label_id, 96, 7))
    assert (tile != draw_tile(label_id, 96, 8)).any()


def test_draw_tile_looks_different_for_each_label() -> None:
    # Haematoxylin absorbs red; eosin hardly does.
    red = {label: draw_tile(label, 128, 0)[..., 0].mean() for label in LABEL_IDS}
    assert red["non_tumor"] > red["non_viable_tumor"] + 15
    assert red["non_viable_tumor"] > red["viable_tumor"] + 15


def test_draw_tile_refuses_unknown_labels_and_tiny_sides() -> None:
    with pytest.raises(ValueError, match="no drawing for 'bone'"):
        draw_tile("bone", 96, 0)
    with pytest.raises(ValueError, match="at least 16"):
        draw_tile("non_tumor", 8, 0)


def test_encode_tile_writes_images_that_the_service_decodes() -> None:
    tile = draw_tile("viable_tumor", 224, 1)
    np.testing.assert_array_equal(decode_tile(encode_tile(tile, "PNG")), tile)
    lossy = decode_tile(encode_tile(tile, "JPEG")).astype(int)
    assert np.abs(lossy - tile).mean() < 8
