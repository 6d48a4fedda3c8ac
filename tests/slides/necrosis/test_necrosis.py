"""The share of dead tumour: what counts, and when there is no number."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.manifest import Label, Manifest, read_manifest
from app.core.provenance import Recalibration
from app.core.review import ReviewReason
from app.slides.necrosis.ratio import necrosis_of
from app.slides.tile_rows import EXCLUDING_REASONS, TileRow
from tests.bundles import LABELS, MODEL_NAME
from tests.conftest import RELEASED_MODELS
from tests.slides.necrosis.patchy_slides import (
    SLIDE_V3,
    TILE_AREA_MM2,
    manifest_with,
    patchy_slide,
    rows_of,
    square_of,
    tile_rows,
)

OTHER, DEAD, ALIVE = range(3)
NOTHING_MIN = 0.0


def unreadable(column: int, row: int) -> TileRow:
    return TileRow(column, row, 1.0, error="broken")


@st.composite
def tissue(draw: st.DrawFn) -> list[TileRow]:
    """Tiles of any label at different places."""
    places = draw(
        st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), unique=True, max_size=60)
    )
    labels = [draw(st.integers(0, 2)) for _ in places]
    return tile_rows([x for x, _ in places], [y for _, y in places], labels)


@settings(max_examples=25)
@given(tissue(), st.randoms(use_true_random=False))
def test_necrosis_does_not_depend_on_the_order_of_tiles(
    rows: list[TileRow], generator: random.Random
) -> None:
    shuffled = list(rows)
    generator.shuffle(shuffled)
    manifest = manifest_with()
    assert necrosis_of(rows, manifest, 1.0, 0.0) == necrosis_of(shuffled, manifest, 1.0, 0.0)


@settings(max_examples=25)
@given(tissue())
def test_necrosis_and_its_intervals_are_shares(rows: list[TileRow]) -> None:
    found = necrosis_of(rows, manifest_with(), 1.0, NOTHING_MIN)
    labels = [row.class_index for row in rows]
    n_dead, n_alive = labels.count(DEAD), labels.count(ALIVE)
    assert (found.n_viable, found.n_non_viable) == (n_alive, n_dead)
    assert found.n_non_tumor == labels.count(OTHER)
    assert found.tumor_area_mm2 == n_dead + n_alive
    if not n_dead + n_alive:
        assert (found.ratio, found.intervals) == (None, [])
        return
    assert found.ratio == n_dead / (n_dead + n_alive)
    assert [one.method for one in found.intervals] == [
        "block_bootstrap",
        "slide_confusion",
        "patient_confusion",
    ]
    assert all(0 <= one.low <= one.high <= 1 for one in found.intervals)
    bootstrap = found.intervals[0]
    assert bootstrap.low <= found.ratio <= bootstrap.high


@settings(max_examples=25)
@given(tissue(), st.sampled_from([0.25, 2.0, 64.0]))
def test_necrosis_scales_with_the_area_of_a_tile(rows: list[TileRow], scale: float) -> None:
    manifest = manifest_with()
    small, large = (necrosis_of(rows, manifest, area, NOTHING_MIN) for area in (1.0, scale))
    assert large.tumor_area_mm2 == scale * small.tumor_area_mm2
    assert large.ratio == small.ratio
    for one, other in zip(small.intervals, large.intervals, strict=True):
        assert (one.low, one.high) == pytest.approx((other.low, other.high))


def test_ratio_is_that_of_the_labels_of_the_same_tiles() -> None:
    for seed, ratio in enumerate((0.1, 0.5, 0.8, 0.9, 0.97)):
        slide = patchy_slide(np.random.default_rng(seed), ratio)
        found = necrosis_of(rows_of(slide), manifest_with(), TILE_AREA_MM2, 20.0)
        assert found.ratio == pytest.approx(slide.tiles_ratio)


@pytest.mark.parametrize("reason", EXCLUDING_REASONS)
def test_excluded_tiles_do_not_count(reason: ReviewReason) -> None:
    rows = square_of(DEAD, DEAD, DEAD, ALIVE)
    excluded = tile_rows([0, 1], [5, 5], [ALIVE, ALIVE], [ReviewReason.AMBIGUOUS, reason])
    found = necrosis_of([*rows, *excluded, unreadable(9, 9)], manifest_with(), 1.0, 1.0)
    assert (found.ratio, found.n_viable) == (0.75, 1)


def test_uncertain_tiles_count() -> None:
    rows = [
        dataclasses.replace(row, reasons=(ReviewReason.LOW_PROBABILITY, ReviewReason.BLURRED))
        for row in square_of(DEAD, ALIVE)
    ]
    assert necrosis_of(rows, manifest_with(), 1.0, 1.0).ratio == 0.5


def test_there_is_no_ratio_below_the_least_area() -> None:
    rows = square_of(*[DEAD] * 10, *[ALIVE] * 9)
    too_little = necrosis_of(rows, manifest_with(), 1.0, 20.0)
    assert (too_little.ratio, too_little.intervals) == (None, [])
    assert too_little.huvos_group == "undetermined"
    assert too_little.reason == "19.0 mm2 of tumour were found; a ratio needs at least 20 mm2."
    assert (too_little.n_non_viable, too_little.tumor_area_mm2) == (10, 19.0)
    assert necrosis_of(rows, manifest_with(), 1.0, 19.0).ratio == 10 / 19


def test_a_slide_without_tumour_has_no_ratio() -> None:
    for rows in ([], square_of(OTHER, OTHER), [unreadable(0, 0)]):
        found = necrosis_of(rows, manifest_with(), 1.0, NOTHING_MIN)
        assert (found.ratio, found.huvos_group) == (None, "undetermined")


@pytest.mark.parametrize(
    "labels",
    [
        (LABELS[0], LABELS[1], Label(id="living_tumor", name="Living", is_tumor=True)),
        (*LABELS, Label(id="mixed_tumor", name="Mixed", is_tumor=True)),
        (LABELS[0], LABELS[1]),
    ],
    ids=["other id", "third tumour label", "no viable label"],
)
def test_a_model_with_other_tumour_labels_has_no_ratio(labels: tuple[Label, ...]) -> None:
    manifest = manifest_with(labels=labels)
    found = necrosis_of(square_of(OTHER, DEAD, DEAD), manifest, 2.0, 1.0)
    assert (found.ratio, found.huvos_group, found.confusions) == (None, "undetermined", None)
    assert (found.n_non_tumor, found.tumor_area_mm2) == (1, 4.0)
    assert found.reason is not None
    assert "viable_tumor and non_viable_tumor" in found.reason
    assert labels[-1].id in found.reason


def test_order_and_names_of_labels_do_not_matter() -> None:
    labels = (LABELS[2], LABELS[0], LABELS[1])
    turned = np.array(SLIDE_V3)[np.ix_([2, 0, 1], [2, 0, 1])].tolist()
    plain = necrosis_of(square_of(DEAD, DEAD, OTHER, ALIVE), manifest_with(), 1.0, 1.0)
    other = necrosis_of(square_of(2, 2, 1, 0), manifest_with(slide=turned, labels=labels), 1.0, 1.0)
    assert (other.ratio, other.intervals[:2]) == (plain.ratio, plain.intervals[:2])


def test_two_labels_of_other_tissue_are_summed() -> None:
    labels = (*LABELS, Label(id="bone", name="Bone", is_tumor=False))
    confusion = [[5, 0, 2, 0], [1, 12, 0, 0], [0, 0, 14, 0], [1, 1, 2, 3]]
    found = necrosis_of(square_of(DEAD, ALIVE), manifest_with(confusion, None, labels), 1.0, 1.0)
    assert found.confusions == {"slide_confusion": [[9, 1, 4], [1, 12, 0], [0, 0, 14]]}


SITE = {
    "parent_version": "1",
    "parent_sha256": "0" * 64,
    "index_sha256": "1" * 64,
    "n_tiles": 289,
    "gate_widened": False,
}


def calibrated(**more: object) -> Manifest:
    return manifest_with().model_copy(
        update={"recalibration": Recalibration.model_validate(SITE | more)}
    )


def test_a_site_has_its_own_interval() -> None:
    slide = patchy_slide(np.random.default_rng(1), 0.8)
    # A version that was calibrated before the confusion was recorded.
    before = necrosis_of(rows_of(slide), calibrated(), TILE_AREA_MM2, 20.0)
    assert [one.method for one in before.intervals][1:] == ["slide_confusion", "patient_confusion"]
    manifest = calibrated(confusion=((90, 1, 1), (1, 95, 0), (2, 0, 99)))
    after = necrosis_of(rows_of(slide), manifest, TILE_AREA_MM2, 20.0)
    assert after.intervals[:-1] == before.intervals
    own = after.intervals[-1]
    assert own.method == "site_confusion"
    assert own.low < slide.tiles_ratio < own.high
    widths = {one.method: one.high - one.low for one in after.intervals}
    assert widths["site_confusion"] < 0.6 * widths["patient_confusion"]
    assert "the site's own tiles (tiles: 92 of other tissue, 96" in own.detail


def test_released_model_tells_its_bias() -> None:
    version = max((RELEASED_MODELS / "osteo-mobilenetv2").iterdir(), key=lambda one: int(one.name))
    manifest, _ = read_manifest(version / "manifest.json")
    found = necrosis_of([], manifest, 1.0, 1.0)
    assert found.bias is not None
    assert "0.89 by the errors on unseen slides" in found.bias
    assert set(found.confusions or {}) == {"slide_confusion", "patient_confusion"}


def test_a_model_without_measured_errors_has_one_interval_and_no_group() -> None:
    manifest = manifest_with(None, None)
    found = necrosis_of(square_of(*[ALIVE] * 800, n_columns=40), manifest, 1.0, 1.0)
    assert [one.method for one in found.intervals] == ["block_bootstrap"]
    assert (found.bias, found.confusions) == (None, {})
    assert found.huvos_group == "undetermined"
    assert "were not measured" in (found.reason or "")


def test_one_block_of_tissue_says_nothing_of_the_rest() -> None:
    found = necrosis_of(square_of(*[DEAD] * 30, *[ALIVE] * 10, n_columns=8), manifest_with(), 1, 1)
    assert found.ratio == 0.75
    bootstrap = found.intervals[0]
    assert (bootstrap.low, bootstrap.high) == (0, 1)
    assert bootstrap.detail == "1 block of 8 x 8 tiles with tumour: too little tissue to say more."
    assert found.huvos_group == "undetermined"


@pytest.mark.parametrize(("n_dead", "n_viable"), [(430, 1), (1, 86)])
def test_an_interval_at_an_edge_reaches_to_the_ratio(n_dead: int, n_viable: int) -> None:
    manifest = read_manifest(RELEASED_MODELS / MODEL_NAME / "4" / "manifest.json")[0]
    answers = [0] * 100 + [1] * n_dead + [2] * n_viable
    rows = [
        TileRow(number % 25, number // 25, 1.0, tuple(float(i == label) for i in range(3)))
        for number, label in enumerate(answers)
    ]
    found = necrosis_of(rows, manifest, 1.05, 20.0)
    assert found.ratio is not None
    for interval in found.intervals:
        assert interval.low < interval.high
        assert interval.low <= found.ratio or interval.low < 1 - 1e-6
        assert interval.high >= found.ratio or interval.high > 1e-6
