"""The summary of a slide."""

from __future__ import annotations

import json

from app.core.review import ReviewReason
from app.slides.necrosis.tile_counts import count_tiles
from app.slides.results import SlideSummary
from app.slides.tile_rows import TileRow
from tests.slides.necrosis.patchy_slides import square_of, tile_rows
from tests.slides.necrosis.test_specimen import summed

DEAD, ALIVE = 1, 2
BLANK, NOT_TISSUE = ReviewReason.BLANK, ReviewReason.NOT_TISSUE


def test_count_tiles_says_what_became_of_each() -> None:
    rows = [
        *square_of(DEAD, ALIVE),
        *tile_rows([0], [1], [DEAD], [ReviewReason.BLURRED]),
        *tile_rows([1], [1], [DEAD], [NOT_TISSUE, BLANK]),
        *tile_rows([2], [1], [DEAD], [NOT_TISSUE]),
        TileRow(3, 1, 0.5, error="broken"),
    ]
    found = count_tiles(rows, n_grid=100, n_tissue=10)
    assert (found.n_grid, found.n_tissue) == (100, 10)
    assert (found.n_classified, found.n_unreadable) == (5, 1)
    assert (found.n_review, found.n_counted) == (3, 3)
    assert found.excluded == {"blank": 1, "not_tissue": 1, "out_of_distribution": 0}
    assert found.excluded_share == {"blank": 0.2, "not_tissue": 0.2, "out_of_distribution": 0}


def test_count_tiles_of_a_slide_of_glass() -> None:
    found = count_tiles([], n_grid=100, n_tissue=0)
    assert (found.n_classified, found.excluded_share["blank"]) == (0, 0)


def test_summary_states_slide_model_and_tiles() -> None:
    summary, _ = summed("a", square_of(*[DEAD] * 15, *[ALIVE] * 5), mpp=0.5, n_missing=2)
    assert (summary.sha256, summary.tile_side_um, summary.tile_side_level0) == (
        "a" * 64,
        500.0,
        1000.0,
    )
    assert (summary.columns, summary.rows, summary.tiles.n_grid) == (40, 30, 1200)
    assert not summary.complete
    assert summary.labels == ["non_tumor", "non_viable_tumor", "viable_tumor"]
    assert (summary.model.version, summary.model.bundle_sha256) == ("1", "b" * 64)
    assert summary.necrosis.tumor_area_mm2 == 5.0
    assert "Research use only" in summary.notice
    assert summary.status == "preliminary"


def test_summary_survives_json() -> None:
    summary, _ = summed("a", square_of(*[DEAD] * 40, *[ALIVE] * 5))
    assert SlideSummary.model_validate(json.loads(summary.model_dump_json())) == summary


def test_summary_lists_the_first_unreadable_tiles() -> None:
    broken = [TileRow(i, 0, 1.0, error=f"broken {i}") for i in range(150)]
    summary, _ = summed("a", broken)
    assert not summary.complete
    assert (summary.tiles.n_unreadable, len(summary.unreadable)) == (150, 100)
    assert (summary.unreadable[7].column, summary.unreadable[7].reason) == (7, "broken 7")
