"""The answer for a slide, from its tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.core.manifest import Manifest
from app.inference.results import ModelIdentity
from app.slides.facts import SlideFacts
from app.slides.grid import Grid
from app.slides.necrosis.ratio import necrosis_of
from app.slides.necrosis.tile_counts import count_tiles
from app.slides.results import SlideSummary, UnreadableTile
from app.slides.tile_rows import TileRow

MAX_UNREADABLE: Final = 100
"""Unreadable tiles that the summary lists; the table of tiles has all."""


@dataclass(frozen=True, slots=True)
class ClassifiedSlide:
    """A slide and its tiles.

    Attributes:
        sha256: of the slide.
        facts: of the slide.
        grid: the tiles that it was cut into.
        n_tissue: tiles with enough tissue to be classified.
        rows: of the tiles that were classified or could not be read.
    """

    sha256: str
    facts: SlideFacts
    grid: Grid
    n_tissue: int
    rows: Sequence[TileRow]


def summarize(
    slide: ClassifiedSlide,
    manifest: Manifest,
    bundle_sha256: str,
    min_tumor_mm2: float,
    parameters: Mapping[str, float | int | str | None],
) -> SlideSummary:
    """Sum the tiles of a slide.

    Args:
        slide: the slide and its tiles.
        manifest: of the model.
        bundle_sha256: of the model.
        min_tumor_mm2: area of tumour below which there is no ratio, in square millimetres.
        parameters: settings that the answer depends on.
    """
    grid, rows = slide.grid, slide.rows
    tiles = count_tiles(rows, grid.columns * grid.rows, slide.n_tissue)
    unreadable = [row for row in rows if not row.probabilities]
    return SlideSummary(
        complete=tiles.n_classified == slide.n_tissue,
        sha256=slide.sha256,
        slide=slide.facts,
        tile_side_um=grid.side_um,
        tile_side_level0=grid.side_level0,
        columns=grid.columns,
        rows=grid.rows,
        tiles=tiles,
        unreadable=[
            UnreadableTile(column=row.column, row=row.row, reason=row.error or "unknown")
            for row in unreadable[:MAX_UNREADABLE]
        ],
        necrosis=necrosis_of(rows, manifest, grid.tile_area_mm2, min_tumor_mm2),
        labels=list(manifest.label_ids),
        model=ModelIdentity(
            name=manifest.model_name, version=manifest.model_version, bundle_sha256=bundle_sha256
        ),
        parameters=dict(parameters),
    )
