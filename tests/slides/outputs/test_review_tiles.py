from __future__ import annotations

from app.core.review import ReviewReason
from app.slides.outputs.review_tiles import MAX_CARDS, tiles_to_look_at
from app.slides.tile_rows import TileRow

UNSURE, STRANGE = ReviewReason.LOW_PROBABILITY, ReviewReason.OUT_OF_DISTRIBUTION


def _tile(column: int, priority: float, *reasons: ReviewReason, tissue: float = 1.0) -> TileRow:
    return TileRow(column, 0, tissue, (0.4, 0.3, 0.3), reasons, priority)


def test_tiles_to_look_at_come_by_priority_and_then_by_tissue() -> None:
    rows = [
        _tile(0, 0.7, UNSURE),
        _tile(1, 0.9, UNSURE, tissue=0.3),
        _tile(2, 0.9, UNSURE, tissue=0.8),
    ]
    assert [row.column for row in tiles_to_look_at(rows)] == [2, 1, 0]


def test_tiles_to_look_at_are_those_with_a_reason_that_could_be_read() -> None:
    rows = [_tile(0, 0.9), TileRow(1, 0, 1.0, error="lost"), _tile(2, 0.2, UNSURE)]
    assert [row.column for row in tiles_to_look_at(rows)] == [2]


def test_tiles_to_look_at_keep_half_of_the_places_for_tiles_that_count() -> None:
    excluded = [_tile(column, 1.0, STRANGE) for column in range(30)]
    counted = [_tile(column, 0.8, UNSURE) for column in range(30, 60)]
    chosen = tiles_to_look_at([*excluded, *counted])
    assert len(chosen) == MAX_CARDS
    assert sum(row.excluded_by is None for row in chosen) == MAX_CARDS // 2


def test_tiles_to_look_at_fill_places_that_one_kind_leaves() -> None:
    excluded = [_tile(column, 1.0, STRANGE) for column in range(30)]
    counted = [_tile(column, 0.8, UNSURE) for column in range(30, 32)]
    assert len(tiles_to_look_at([*excluded, *counted])) == MAX_CARDS
    few = [*excluded[:2], *[_tile(column, 0.8, UNSURE) for column in range(30, 60)]]
    chosen = tiles_to_look_at(few)
    assert len(chosen) == MAX_CARDS
    assert sum(row.excluded_by is not None for row in chosen) == 2
