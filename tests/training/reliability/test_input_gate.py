from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from app.bundle import find_bundle
from app.core.appearance import Appearance, measure_appearance
from app.core.assessment_record import InputGate
from app.core.manifest import MANIFEST_NAME, read_manifest
from app.core.review import ReviewReason
from tests.conftest import RELEASED_MODELS
from training.data.annotations import find_table, read_table
from training.data.drawn_tiles import draw_tile
from training.data.index import build_index
from training.features.extract import read_tiles
from training.reliability.flag_rates import flag_rate
from training.reliability.input_gate import (
    fit_gate,
    flag_tiles,
    flag_tiles_out_of_fold,
    measure_appearances,
)
from training.reliability.ood_samples import in_other_stains

shares = st.floats(0, 1)


@st.composite
def appearances(draw: st.DrawFn) -> Appearance:
    parts = [draw(st.floats(0.01, 1)) for _ in range(3)]
    red, green, blue = (part / sum(parts) for part in parts)
    return Appearance(
        tissue_share=draw(shares),
        contrast=draw(st.floats(0, 127.5)),
        sharpness=draw(st.floats(0, 500)),
        stain_share=draw(shares),
        absorption=(red, green, blue),
    )


@given(st.lists(appearances(), min_size=1, max_size=5), st.data())
def test_fit_gate_admits_the_tiles_it_was_fitted_on(
    seen: list[Appearance], data: st.DataObject
) -> None:
    gaps = st.floats(
        -(2.0**-20), 2, width=32
    )  # rounding can make the distance of equal tiles negative
    distances = data.draw(arrays(np.float32, len(seen), elements=gaps) | st.none())
    gate = fit_gate(seen, distances)
    assert flag_tiles(gate, seen, distances) == [frozenset()] * len(seen)


def like(absorption: tuple[float, float, float], tissue_share: float = 0.9) -> Appearance:
    return Appearance(
        tissue_share=tissue_share,
        contrast=30.0,
        sharpness=20.0,
        stain_share=0.9,
        absorption=absorption,
    )


@pytest.mark.parametrize("beside", [0.0036999999999999997, 0.0009000000000000001])
def test_fit_gate_admits_a_tile_just_beside_a_rounded_limit(beside: float) -> None:
    seen = [like((beside, beside, beside))]
    assert flag_tiles(fit_gate(seen, None), seen, None) == [frozenset()]


def test_fit_gate_adds_margins_to_the_extremes() -> None:
    seen = [like((0.2, 0.6, 0.2), 0.8), like((0.3, 0.5, 0.2), 0.4)]
    gate = fit_gate(seen, np.array([0.1, 0.2], np.float32))
    assert gate.min_tissue_share == pytest.approx(0.1)
    assert gate.min_contrast == pytest.approx(7.5)
    assert gate.min_sharpness == pytest.approx(5.0)
    assert gate.min_stain_share == pytest.approx(0.8)
    assert gate.absorption[0] == pytest.approx((0.165, 0.335), abs=1e-3)
    assert gate.absorption[1] == pytest.approx((0.485, 0.635), abs=1e-3)
    assert gate.max_distance == pytest.approx(0.22, abs=1e-3)


def test_flag_tiles_out_of_fold_never_uses_the_folds_own_tiles() -> None:
    ordinary = [like((0.3, 0.5, 0.2)), like((0.32, 0.48, 0.2))] * 2
    odd = like((0.1, 0.2, 0.7))
    folds = np.array(["a", "a", "b", "b", "c"])
    distances = np.array([0.1, 0.1, 0.1, 0.1, 0.9], np.float32)
    apart = flag_tiles_out_of_fold([*ordinary, odd], distances, folds)
    assert apart[4] == {ReviewReason.NOT_TISSUE, ReviewReason.OUT_OF_DISTRIBUTION}
    assert apart[:4] == [frozenset()] * 4
    together = flag_tiles(fit_gate([*ordinary, odd], distances), [*ordinary, odd], distances)
    assert together == [frozenset()] * 5


def test_flag_tiles_out_of_fold_keeps_the_order_of_the_tiles() -> None:
    odd = like((0.1, 0.2, 0.7))
    seen = [odd, *[like((0.3, 0.5, 0.2)), like((0.32, 0.48, 0.2))] * 2]
    verdicts = flag_tiles_out_of_fold(seen, None, np.array(["b", "a", "b", "a", "c"]))
    assert [bool(reasons) for reasons in verdicts] == [True, False, False, False, False]


def test_measure_appearances_keeps_the_order_of_the_tiles() -> None:
    tiles = np.stack([draw_tile("viable_tumor", 32, seed) for seed in range(20)])
    assert measure_appearances(tiles) == [measure_appearance(tile) for tile in tiles]


def test_flag_rate_counts_reasons_and_has_an_interval() -> None:
    blank, blurred = ReviewReason.BLANK, ReviewReason.BLURRED
    rate = flag_rate(
        "k", [frozenset(), frozenset({blank, blurred}), frozenset({blank}), frozenset()]
    )
    assert (rate.kind, rate.n_pictures, rate.flagged) == ("k", 4, 0.5)
    assert rate.by_reason == {"blank": 0.5, "blurred": 0.25}
    assert (rate.low, rate.high) == pytest.approx((0.0676, 0.9324), abs=1e-4)


@pytest.fixture(scope="module")
def real_tiles(real_dir: Path) -> tuple[NDArray[np.uint8], NDArray[np.str_]]:
    index, _ = build_index(real_dir, read_table(find_table(real_dir)))
    return np.stack(list(read_tiles(index, real_dir))), np.array([t.slide for t in index.tiles])


@pytest.mark.real_tiles
def test_at_most_one_real_tile_in_twenty_is_flagged_by_its_appearance(
    real_tiles: tuple[NDArray[np.uint8], NDArray[np.str_]],
) -> None:
    tiles, slides = real_tiles
    verdicts = flag_tiles_out_of_fold(measure_appearances(tiles), None, slides)
    assert flag_rate("real", verdicts).flagged <= 0.05


@pytest.fixture(scope="module")
def real_and_changed(
    real_tiles: tuple[NDArray[np.uint8], NDArray[np.str_]],
) -> tuple[list[Appearance], dict[str, list[Appearance]]]:
    """Appearances of the real tiles as they are, and in each of four other stains."""
    changed = in_other_stains(real_tiles[0])
    names = ("grey", "inverted", "haematoxylin and DAB", "Masson's trichrome")
    stained = {name: measure_appearances(changed[name]) for name in names}
    return measure_appearances(real_tiles[0]), stained


def released_gate() -> InputGate:
    manifest, _ = read_manifest(find_bundle(RELEASED_MODELS, "osteo-mobilenetv2") / MANIFEST_NAME)
    assert manifest.assessment is not None
    return manifest.assessment.gate


@pytest.mark.real_tiles
@pytest.mark.parametrize("is_released", [False, True])
def test_real_tiles_in_other_stains_are_flagged_as_not_tissue(
    real_and_changed: tuple[list[Appearance], dict[str, list[Appearance]]], is_released: bool
) -> None:
    seen, changed = real_and_changed
    gate = released_gate() if is_released else fit_gate(seen, None)
    assert flag_tiles(gate, seen, None) == [frozenset()] * len(seen)
    for name, stained in changed.items():
        verdicts = flag_tiles(gate, stained, None)
        assert flag_rate(name, verdicts).by_reason["not_tissue"] >= 0.95, name
