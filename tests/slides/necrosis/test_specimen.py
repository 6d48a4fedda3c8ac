"""The ratio over all slides of a specimen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from app.core.manifest import Label, Manifest
from app.core.slide_errors import SpecimenError
from app.slides.facts import LevelFacts, SlideFacts
from app.slides.grid import Grid
from app.slides.necrosis.specimen import specimen_of
from app.slides.results import SlideSummary
from app.slides.summarize import ClassifiedSlide, summarize
from app.slides.tile_rows import TileRow
from tests.bundles import LABELS
from tests.slides.necrosis.patchy_slides import manifest_with, patchy_slide, rows_of, square_of

DEAD, ALIVE = 1, 2
Slide = tuple[SlideSummary, Sequence[TileRow]]


def summed(
    name: str,
    rows: Sequence[TileRow],
    mpp: float = 1.0,
    manifest: Manifest | None = None,
    bundle: str = "b" * 64,
    n_missing: int = 0,
) -> Slide:
    """A slide with 1,000 px tiles and its summary; `name` is a hexadecimal digit."""
    facts = SlideFacts(
        format="generic-tiff",
        n_bytes=1,
        width_px=40_000,
        height_px=30_000,
        mpp=mpp,
        mpp_source="file",
        levels=[LevelFacts(width_px=40_000, height_px=30_000, downsample=1.0)],
        reads="jpeg",
    )
    grid = Grid(side_level0=1000.0, columns=40, rows=30, mpp=mpp)
    slide = ClassifiedSlide(name * 64, facts, grid, len(rows) + n_missing, rows)
    return summarize(slide, manifest or manifest_with(), bundle, 20.0, {}), rows


def patchy(name: str, seed: int, ratio: float = 0.8) -> Slide:
    return summed(name, rows_of(patchy_slide(np.random.default_rng(seed), ratio)))


def test_specimen_of_one_slide_is_that_slide() -> None:
    summary, rows = patchy("a", 1)
    specimen = specimen_of([(summary, rows)])
    assert specimen.necrosis == summary.necrosis
    assert (specimen.slides, specimen.model) == (["a" * 64], summary.model)


def test_specimen_sums_areas_of_all_slides() -> None:
    dead = summed("a", square_of(*[DEAD] * 30))
    alive = summed("b", square_of(*[ALIVE] * 10))
    found = specimen_of([dead, alive]).necrosis
    assert (found.ratio, found.n_viable, found.n_non_viable) == (0.75, 10, 30)
    assert found.tumor_area_mm2 == pytest.approx(40.0)


def test_specimen_weighs_slides_by_the_area_of_their_tiles() -> None:
    large = summed("a", square_of(*[DEAD] * 20), mpp=2.0)
    small = summed("b", square_of(*[ALIVE] * 20), mpp=1.0)
    assert specimen_of([large, small]).necrosis.ratio == pytest.approx(0.8)


def test_specimen_does_not_depend_on_the_order_of_slides() -> None:
    slides = [patchy("a", 1), patchy("b", 2, 0.5), summed("c", square_of(DEAD, ALIVE))]
    assert specimen_of(slides) == specimen_of(slides[::-1])


def test_specimen_has_narrower_intervals_than_its_slides() -> None:
    slides = [patchy(name, seed) for seed, name in enumerate("abcdef")]
    found = specimen_of(slides).necrosis.intervals[0]
    widths = [one.necrosis.intervals[0] for one, _ in slides]
    assert found.high - found.low < min(one.high - one.low for one in widths)


def test_specimen_has_a_ratio_if_only_its_sum_is_large_enough() -> None:
    slides = [summed(name, square_of(*[DEAD] * 7, ALIVE, ALIVE, ALIVE)) for name in "ab"]
    assert [summary.necrosis.ratio for summary, _ in slides] == [None, None]
    assert specimen_of(slides).necrosis.ratio == 0.7


def test_specimen_is_complete_if_every_slide_is() -> None:
    whole, cut = summed("a", square_of(DEAD)), summed("b", square_of(DEAD), n_missing=1)
    assert not specimen_of([whole, cut]).complete
    assert specimen_of([whole, summed("b", square_of(DEAD))]).complete


def test_specimen_of_a_model_with_other_labels_says_why_it_has_no_ratio() -> None:
    labels = (*LABELS[:2], Label(id="living_tumor", name="Living", is_tumor=True))
    manifest = manifest_with(labels=labels)
    slides = [summed(name, square_of(0, 1, 2), manifest=manifest) for name in "ab"]
    found = specimen_of(slides).necrosis
    assert (found.ratio, found.n_non_tumor, found.tumor_area_mm2) == (None, 2, 4.0)
    assert found.reason == slides[0][0].necrosis.reason


def test_specimen_refuses_the_same_slide_twice() -> None:
    slides = [summed("a", square_of(DEAD)), summed("b", square_of(DEAD)), summed("a", [])]
    with pytest.raises(SpecimenError, match="aaaaaaaaaaaa was named twice") as caught:
        specimen_of(slides)
    assert caught.value.code == "specimen-mixed"


def test_specimen_refuses_slides_of_other_models() -> None:
    slides = [summed("a", square_of(DEAD)), summed("b", square_of(DEAD), bundle="c" * 64)]
    with pytest.raises(SpecimenError, match=r"\(cccccccccccc\) the slide bbbbbbbbbbbb"):
        specimen_of(slides)


def test_specimen_needs_a_slide() -> None:
    with pytest.raises(SpecimenError, match="no slide"):
        specimen_of([])
