from __future__ import annotations

import numpy as np
import pytest

from training.augmentation.stain_separation import OTHER_STAINS
from training.data.drawn_tiles import draw_tile
from training.reliability import ood_samples
from training.reliability.ood_samples import other_stains, outsiders_by_kind

KINDS = {"photographs", "drawings", "documents", "noise", "plain colours"}


def test_every_kind_is_there_in_the_shape_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ood_samples, "N_PER_KIND", 2)
    pictures = outsiders_by_kind(96)
    assert set(pictures) == KINDS
    for shown in pictures.values():
        assert shown.shape == (2, 96, 96, 3)
        assert shown.dtype == np.uint8
        assert (shown[0] != shown[1]).any(), "no picture is there twice"


def test_seed_decides_the_pictures() -> None:
    first, again, other = (outsiders_by_kind(48, seed) for seed in (1, 1, 2))
    for kind in KINDS:
        np.testing.assert_array_equal(first[kind], again[kind])
        assert (first[kind] != other[kind]).any()


def test_other_stains_keep_the_tiles_and_change_their_colours() -> None:
    tiles = np.stack([draw_tile("viable_tumor", 64, seed) for seed in range(2)])
    changed = other_stains(tiles)
    assert set(OTHER_STAINS) < set(changed)
    for shown in changed.values():
        assert shown.shape == tiles.shape
        assert shown.dtype == np.uint8
        assert (shown != tiles).any()
    np.testing.assert_array_equal(changed["inverted"].astype(int) + tiles, 255)
    assert np.ptp(changed["grey"], axis=-1).max() == 0
    np.testing.assert_array_equal(changed["red and blue exchanged"][..., 0], tiles[..., 2])
    np.testing.assert_array_equal(changed["red and green exchanged"][..., 0], tiles[..., 1])
