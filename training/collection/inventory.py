"""The content of `report.json`: counts, near-blank and unreadable tiles, copies, overlaps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from training.collection.contact_sheets import ALIKE, NEAR_BLANK, UNREADABLE
from training.collection.perceptual_hash import (
    DEFAULT_MAX_BITS,
    find_look_alikes,
    find_same_bytes,
)
from training.collection.survey import SurveyedTile
from training.data.overlaps import FOOTPRINTS_PX, overlapping_pairs
from training.data.tile_source import TileSource
from training.storage.frozen_model import FrozenModel


class NamedTile(FrozenModel):
    """A tile in a list of the report."""

    tile: str
    file: str | None
    case: str
    label: str


class NearBlankTile(NamedTile):
    """A tile with less tissue than the limit."""

    tissue_share: float


class UnreadableTile(NamedTile):
    """A file that cannot be decoded, or a row without a file."""

    reason: str


class AlikePair(FrozenModel):
    """Two tiles that look the same, perhaps rotated or mirrored; `n_bits` of 256 differ."""

    first: NamedTile
    second: NamedTile
    n_bits: int


class DatasetReport(FrozenModel):
    """The whole report; lists are sorted by name."""

    schema_version: Literal[1] = 1
    table: str
    table_sha256: str | None
    n_rows: int
    n_tiles: int
    n_slides: int
    tiles_by_case: dict[str, dict[str, int]]
    sizes_px: dict[str, int]
    min_tissue_share: float
    max_bits: int
    near_blank: tuple[NearBlankTile, ...]
    unreadable: tuple[UnreadableTile, ...]
    same_bytes: tuple[tuple[NamedTile, ...], ...]
    look_alikes: tuple[AlikePair, ...]
    overlapping_pairs: dict[int, int]
    sheets: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Every class in the collection, sorted."""
        return tuple(sorted({label for counts in self.tiles_by_case.values() for label in counts}))

    def marks(self) -> dict[str, str]:
        """What is odd about a tile, by its name; the worst if there are several reasons."""
        marks = {tile.tile: NEAR_BLANK for tile in self.near_blank}
        marks |= {tile.tile: ALIKE for group in self.same_bytes for tile in group}
        marks |= {t.tile: ALIKE for pair in self.look_alikes for t in (pair.first, pair.second)}
        return marks | {tile.tile: UNREADABLE for tile in self.unreadable}


@dataclass(frozen=True, slots=True)
class OddityLimits:
    """Limits beyond which a tile is odd.

    Attributes:
        min_tissue_share: a tile with a smaller share is near-blank.
        max_bits: tiles look alike if their hashes differ in at most this many of 256 bits.
    """

    min_tissue_share: float = 0.1
    max_bits: int = DEFAULT_MAX_BITS


def build_report(
    tiles: Sequence[SurveyedTile], source: TileSource, limits: OddityLimits
) -> DatasetReport:
    """Count the tiles of a survey and find the odd ones."""
    readable = [tile for tile in tiles if not tile.problem]
    same = find_same_bytes([tile.sha256 for tile in tiles])
    twins = {position for group in same for position in group}
    is_blank = [not t.problem and t.tissue_share < limits.min_tissue_share for t in tiles]
    blank = {i for i, tile_is_blank in enumerate(is_blank) if tile_is_blank}
    counts: dict[str, Counter[str]] = {}
    for tile in tiles:
        counts.setdefault(tile.case, Counter())[tile.label] += 1
    return DatasetReport(
        table=source.table,
        table_sha256=source.table_sha256,
        n_rows=len(source.tiles),
        n_tiles=len(tiles),
        n_slides=len({tile.place.slide for tile in tiles} - {None}),
        tiles_by_case={case: dict(sorted(counts[case].items())) for case in sorted(counts)},
        sizes_px=dict(Counter(f"{t.size[0]} x {t.size[1]}" for t in readable).most_common()),
        min_tissue_share=limits.min_tissue_share,
        max_bits=limits.max_bits,
        near_blank=tuple(
            NearBlankTile(**_named(tiles[i]), tissue_share=round(tiles[i].tissue_share, 4))
            for i in sorted(blank)
        ),
        unreadable=tuple(UnreadableTile(**_named(t), reason=t.problem) for t in tiles if t.problem),
        same_bytes=tuple(tuple(NamedTile(**_named(tiles[i])) for i in group) for group in same),
        # Two empty tiles look alike without being copies.
        look_alikes=tuple(
            AlikePair(
                first=NamedTile(**_named(tiles[pair.first])),
                second=NamedTile(**_named(tiles[pair.second])),
                n_bits=pair.n_bits,
            )
            for pair in find_look_alikes([t.fingerprints for t in tiles], limits.max_bits)
            if not {pair.first, pair.second} <= twins and not {pair.first, pair.second} & blank
        ),
        overlapping_pairs={
            side_px: len(overlapping_pairs([t.place for t in readable], side_px))
            for side_px in FOOTPRINTS_PX
        },
    )


def _named(tile: SurveyedTile) -> dict[str, Any]:
    return {"tile": tile.stem, "file": tile.file, "case": tile.case, "label": tile.label}
