from __future__ import annotations

import numpy as np
import pytest

from training.augmentation.stain_separation import OTHER_STAINS
from training.data.drawn_tiles import draw_tile
from training.reliability import ood_samples
from training.reliability.ood_samples import draw_ood_samples, in_other_stains

KINDS = {"photographs", "drawings", "documents", "noise", "plain colours"}


def test_draw_ood_samples_returns_every_kind_in_the_given_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ood_samples, "N_PER_KIND", 2)
    samples = draw_ood_samples(96)
    assert set(samples) == KINDS
    for shown in samples.values():
        assert shown.shape == (2, 96, 96, 3)
        assert shown.dtype == np.uint8
        assert (shown[0] != shown[1]).any(), "no two images are equal"


def test_draw_ood_samples_is_reproducible_with_a_seed() -> None:
    first, again, other = (draw_ood_samples(48, seed) for seed in (1, 1, 2))
    for kind in KINDS:
        np.testing.assert_array_equal(first[kind], again[kind])
        assert (first[kind] != other[kind]).any()


def test_in_other_stains_changes_only_colours() -> None:
    tiles = np.stack([draw_tile("viable_tumor", 64, seed) for seed in range(2)])
    changed = in_other_stains(tiles)
    assert set(OTHER_STAINS) < set(changed)
    for shown in changed.values():
        assert shown.shape == tiles.shape
        assert shown.dtype == np.uint8
        assert (shown != tiles).any()
    np.testing.assert_array_equal(changed["inverted"].astype(int) + tiles, 255)
    assert np.ptp(changed["grey"], axis=-1).max() == 0
    np.testing.assert_array_equal(changed["red and blue exchanged"][..., 0], tiles[..., 2])
    np.testing.assert_array_equal(changed["red and green exchanged"][..., 0], tiles[..., 1])
