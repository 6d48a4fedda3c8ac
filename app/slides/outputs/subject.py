"""What all outputs of a slide are about, and what each tile counts as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from app.core.manifest import Label, Manifest
from app.slides.grid import Grid
from app.slides.results import SlideSummary
from app.slides.tile_rows import TileRow


@dataclass(frozen=True)
class OutputSubject:
    """The answer for a slide, its tiles and the labels of its model.

    Attributes:
        summary: as in `summary.json`.
        rows: the tiles with tissue, by row and column of the grid.
        manifest: of the bundle that classified them.
        cam_shape: rows and columns of each tile's evidence map.
    """

    summary: SlideSummary
    rows: Sequence[TileRow]
    manifest: Manifest
    cam_shape: tuple[int, int]

    @cached_property
    def grid(self) -> Grid:
        """The grid of tiles on level 0."""
        summary = self.summary
        return Grid(summary.tile_side_level0, summary.columns, summary.rows, mpp=summary.slide.mpp)

    def label_of(self, row: TileRow) -> Label | None:
        """The most probable label of a tile; None if it could not be read."""
        return None if row.class_index is None else self.manifest.labels[row.class_index]

    def counts_as(self, row: TileRow) -> Label | None:
        """The label that a tile counts as; None if it could not be read or is left out."""
        return None if row.excluded_by is not None else self.label_of(row)


def shown_names(labels: Sequence[Label]) -> list[str]:
    """Names that people read, on one line each; ids if two labels have the same name."""
    names = [" ".join(label.name.split()) or label.id for label in labels]
    return distinct(names, labels)


def distinct(names: list[str], labels: Sequence[Label]) -> list[str]:
    """The names of labels if they differ, else the ids, which always do."""
    return names if len(set(names)) == len(names) else [label.id for label in labels]
