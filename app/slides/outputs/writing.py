"""Write all outputs of a slide: all of them, or none."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.manifest import Manifest
from app.slides.outputs.evidence_overlay import write_overlay
from app.slides.outputs.heat_map import write_heat_map, write_heat_map_facts
from app.slides.outputs.objects import write_objects
from app.slides.outputs.report import write_report
from app.slides.outputs.review_tiles import ReadSquare
from app.slides.outputs.subject import OutputSubject
from app.slides.outputs.table import write_table
from app.slides.results import SlideSummary
from app.slides.tile_rows import TileRow

TABLE_NAME: Final = "tiles.csv"
OBJECTS_NAME: Final = "tiles.geojson"
HEAT_MAP_NAME: Final = "heatmap.png"
HEAT_MAP_FACTS_NAME: Final = "heatmap.json"
OVERLAY_NAME: Final = "overlay.png"
REPORT_NAME: Final = "report.html"
SUMMARY_NAME: Final = "summary.json"
OUTPUT_NAMES: Final = (
    *(TABLE_NAME, OBJECTS_NAME, HEAT_MAP_NAME, HEAT_MAP_FACTS_NAME, OVERLAY_NAME, REPORT_NAME),
    SUMMARY_NAME,
)
"""In the order in which they appear: where there is a summary, there is everything."""
_DRAFTS: Final = ".outputs-"


def write_outputs(
    folder: Path,
    summary: SlideSummary,
    rows: Sequence[TileRow],
    overview: NDArray[np.uint8],
    manifest: Manifest,
    cam_shape: tuple[int, int],
    read_square: ReadSquare | None = None,
) -> None:
    """Write summary, table, QuPath objects, maps and report.

    The same arguments give the same bytes. All files are written to a hidden folder first and moved
    when they are whole: a full disk or a kill leaves the older outputs, or none.

    Args:
        folder: exists; older outputs in it are replaced.
        summary: the answer.
        rows: the tiles with tissue, by row and column of the grid.
        overview: uint8 `[h, w, 3]`, RGB, the whole of level 0.
        manifest: of the bundle that classified the tiles.
        cam_shape: rows and columns of each tile's evidence map.
        read_square: reads a tile as uint8 `[224, 224, 3]` for the report, or None if it cannot.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    subject = OutputSubject(summary, rows, manifest, cam_shape)
    writers: dict[str, Callable[[Path], object]] = {
        TABLE_NAME: lambda path: write_table(path, subject),
        OBJECTS_NAME: lambda path: write_objects(path, subject),
        HEAT_MAP_NAME: lambda path: write_heat_map(path, subject),
        HEAT_MAP_FACTS_NAME: lambda path: write_heat_map_facts(path, subject),
        OVERLAY_NAME: lambda path: write_overlay(path, overview, subject),
        REPORT_NAME: lambda path: write_report(path, overview, subject, read_square),
        SUMMARY_NAME: lambda path: _write_summary(path, summary),
    }
    for left in folder.glob(f"{_DRAFTS}*"):  # of a writer that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_DRAFTS, dir=folder) as drafts:
        for name in OUTPUT_NAMES:
            writers[name](Path(drafts) / name)
        # While files are replaced there is no summary, so nobody takes new and old ones for a set.
        (folder / SUMMARY_NAME).unlink(missing_ok=True)
        for name in OUTPUT_NAMES:
            (Path(drafts) / name).replace(folder / name)


def _write_summary(path: Path, summary: SlideSummary) -> None:
    path.write_text(summary.model_dump_json(indent=2) + "\n", encoding="utf-8")
