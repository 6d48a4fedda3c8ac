"""`tiles.csv`: one row for each tile with tissue."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

from app.slides.outputs.subject import OutputSubject
from app.slides.tile_rows import TileRow

_PLACE: Final = (
    *("column", "row", "x_level0", "y_level0", "x_um", "y_um", "side_level0", "tissue_share"),
    "label",
)
_REVIEW: Final = ("review", "priority", "distance", "excluded_by", "error", "status")
STATUS: Final = "preliminary; research use only"
"""In each row, because rows are copied into other tables."""


def write_table(path: Path, subject: OutputSubject) -> None:
    """Write the tiles as CSV: UTF-8, RFC 4180, with a header.

    `x_level0`, `y_level0` are the upper left corner in pixels of level 0, `x_um`, `y_um` the same
    in micrometres, `p_ID` the probability of the label ID. A field without a value is empty.

    Raises:
        OSError: the file cannot be written.
    """
    ids = subject.manifest.label_ids
    # A prefix, because a label may have the id of another column.
    header = (*_PLACE, *(f"p_{label_id}" for label_id in ids), *_REVIEW)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(_values(row, subject) for row in subject.rows)


def _values(row: TileRow, subject: OutputSubject) -> list[object]:
    grid = subject.grid
    x, y = grid.location_level0(row.column, row.row)
    label = subject.label_of(row)
    probabilities = row.probabilities or [""] * len(subject.manifest.labels)
    return [
        *(row.column, row.row, x, y, round(x * grid.mpp, 2), round(y * grid.mpp, 2)),
        *(grid.side_level0, row.tissue_share, label.id if label else None),
        *probabilities,
        *(" ".join(row.reasons), row.priority, row.distance, row.excluded_by, row.error, STATUS),
    ]
